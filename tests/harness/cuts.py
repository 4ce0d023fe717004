"""Kills kins at chosen steps, runs `kins down` and says what is left: a program for the inside of an environment.

    python3 cuts.py all|sample UID < inside.py

kins is called by the user of that number; whoever looks is root.
Standard library alone, one line of JSON for each cut. `sample` takes each kind of step once whose effect outlives the
node's mounts, `all` every step before and after its execution, and every step's undoing. What `inside.py` on standard
input sees must be the same after each.
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

REACHED = Path("/tmp/kins-cut-reached")
ACCOUNT = pwd.getpwuid(int(sys.argv[2]))
CLUSTER = Path(ACCOUNT.pw_dir) / ".local/share/kins/clusters/default"
CALLER: dict[str, Any] = {"user": ACCOUNT.pw_uid, "group": ACCOUNT.pw_gid, "extra_groups": [], "cwd": ACCOUNT.pw_dir}
HOME = {"HOME": ACCOUNT.pw_dir, "USER": ACCOUNT.pw_name}
# A cut is reached within a second natively; three busy environments may share two cores.
PATIENCE = 60.0
# kins.plan.mounts
MOUNTS = {"BindMount", "CoverDirectory", "MountFileSystem", "SetPropagation", "Unmount"}

Look = Callable[[], dict[str, list[str]]]


def start(cut: str, *command: str) -> subprocess.Popen[bytes]:
    """Start a command that stands still, or has its daemon stand still, at a cut; returns when it does."""
    REACHED.unlink(missing_ok=True)
    hook = {"PYTHONPATH": str(Path(__file__).parent), "PYTHONDONTWRITEBYTECODE": "1"}
    variables = {**os.environ, **HOME, **hook, "KINS_TEST_CUT": cut, "KINS_TEST_CUT_REACHED": str(REACHED)}
    started = subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **CALLER)
    deadline = time.monotonic() + PATIENCE
    while not REACHED.exists():
        if started.poll() is not None or time.monotonic() > deadline:
            started.kill()
            said = b"".join(started.communicate()).decode()
            sys.exit(f"the cut {cut!r} of {command} was not reached: {started.returncode} {said}")
        time.sleep(0.005)
    REACHED.unlink()
    return started


def supervisor() -> int:
    """The daemon's pid."""
    return int(json.loads((CLUSTER / "supervisor.json").read_text())["pid"])


def kill(pid: int) -> None:
    """SIGKILL; it may be gone."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def kinds() -> list[str]:
    """The kinds of the journal's steps, in their order; its first line is no step."""
    lines = (CLUSTER / "journal.jsonl").read_text().splitlines()
    return [json.loads(line)["type"] for line in lines[1:]]


def kill_all(up: subprocess.Popen[bytes]) -> None:
    """The command first: it would clean up."""
    up.kill()
    up.communicate()
    kill(supervisor())


def down() -> None:
    """What the test is about."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run(["kins", "down"], check=True, env={**os.environ, **HOME}, **quiet, **CALLER)


def cut_up(cut: str) -> None:
    """Everything dies."""
    kill_all(start(cut, "kins", "up"))


def cut_daemon(cut: str) -> None:
    """The daemon alone dies: `up` sees that and undoes everything by itself."""
    up = start(cut, "kins", "up")
    kill(supervisor())
    said = b"".join(up.communicate()).decode()
    if up.returncode != 1 or "the supervisor ended" not in said or CLUSTER.exists():
        sys.exit(f"`up` without its daemon: {up.returncode} {said}")


def cut_down(cut: str) -> None:
    """`down` dies over the undoing."""
    cut_up("end")
    started = start(cut, "kins", "down")
    started.kill()
    started.communicate()


def chosen(which: str, steps: list[str]) -> Iterator[tuple[Callable[[str], None], str]]:
    """The cuts, each with how it is made."""
    lasting = set(steps) - MOUNTS
    numbers = range(len(steps)) if which == "all" else sorted(steps.index(kind) for kind in lasting)
    for number in numbers:
        yield cut_up, f"after {number}"
    if which == "all":
        for number in numbers:
            yield cut_up, f"before {number}"
            yield cut_daemon, f"after {number}"
            yield cut_down, f"undo {number}"
    else:
        yield cut_up, f"before {numbers[-1]}"
        yield cut_daemon, f"after {numbers[-1]}"
        yield cut_down, "undo 1"


def differences(before: dict[str, list[str]], look: Look) -> list[str]:
    """What is not as before. The kernel takes some things away a moment later."""
    deadline = time.monotonic() + PATIENCE
    while True:
        now = look()
        left = [
            f"{sign} {part}: {line}"
            for part in before
            for sign, some, others in (("-", before[part], now[part]), ("+", now[part], before[part]))
            for line in sorted(set(some) - set(others))
        ]
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.1)


def main() -> None:
    """Make the cuts."""
    inside: dict[str, Any] = {"__name__": "inside"}
    exec(compile(sys.stdin.read(), "inside.py", "exec"), inside)
    look: Look = inside["everything"]
    before = look()
    kill_all(start("end", "kins", "up"))
    steps = kinds()
    down()
    for make, cut in chosen(sys.argv[1], steps):
        began = time.monotonic()
        make(cut)
        down()
        number = cut.partition(" ")[2]
        seen = {
            "cut": f"{make.__name__}: {cut}",
            "step": steps[int(number)],
            "left": differences(before, look),
            "seconds": round(time.monotonic() - began, 2),
        }
        print(json.dumps(seen), flush=True)


if __name__ == "__main__":
    main()
