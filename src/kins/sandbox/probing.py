"""Running the probes: all at once, each in a process of its own, each with a limit."""

from __future__ import annotations

import os
import selectors
import shutil
import signal
import time
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from kins.sandbox.facts import Answer, Facts
from kins.sandbox.probes import ANSWERS, SEVERAL, VALUES
from kins.sandbox.probes.identity import identity
from kins.sandbox.probes.table import Probe
from kins.sys import process

# A probe that has not answered by then hangs, which is an answer as well (gVisor without a network of its own does).
LIMIT_SECONDS = 3.0


class Outcome(msgspec.Struct, frozen=True):
    """What came out of a probe's process: a value, or the reason why there is none."""

    value: Any = None
    cause: str | None = None


def probe(home: Path) -> Facts:
    """Ask the sandbox. `home` is an existing directory on the file system where clusters will be kept."""
    clear_remains(home)
    scratch = home / f"probe-{os.getpid()}"
    scratch.mkdir(mode=0o700)
    try:
        return _facts(_run_all(scratch))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def clear_remains(home: Path) -> None:
    """Remove the scratch directories of probes that were killed."""
    deadline = time.monotonic() + LIMIT_SECONDS
    for place in home.glob("probe-*"):
        pid = place.name.removeprefix("probe-")
        if pid.isdecimal() and not process.is_running(int(pid)):
            # Its children are killed with it, but may write for a moment yet.
            while place.exists() and time.monotonic() < deadline:
                shutil.rmtree(place, ignore_errors=True)


def _facts(outcomes: dict[str, Outcome]) -> Facts:
    values: dict[str, Any] = {}
    for name in ANSWERS:
        cause = outcomes[name].cause
        values[name] = Answer(cause is None, cause or "")
    for name, (_, default) in VALUES.items():
        outcome = outcomes[name]
        values[name] = default if outcome.cause is not None else outcome.value
    known = outcomes["identity"].value or identity(Path())
    mounted, controllers = outcomes["control_groups_v2"].value or (None, [])
    values |= {"control_groups_v2": mounted, "control_groups_v2_controllers": controllers}
    return msgspec.convert(values | known, Facts)


def _run_all(scratch: Path) -> dict[str, Outcome]:
    functions: dict[str, Probe] = SEVERAL | ANSWERS | {name: function for name, (function, _) in VALUES.items()}
    running = {name: _fork(function, scratch / name) for name, function in functions.items()}
    deadline = time.monotonic() + LIMIT_SECONDS
    return _gather(running, deadline)


def _fork(function: Probe, scratch: Path) -> tuple[int, int]:
    """Run a probe in a child; returns its pid and the pipe on which its outcome comes."""
    scratch.mkdir()
    answer, tell = os.pipe()
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        _probe_and_exit(function, scratch, tell, parent)
    os.close(tell)
    return pid, answer


def _probe_and_exit(function: Probe, scratch: Path, tell: int, parent: int) -> NoReturn:
    try:
        # What was opened before: the lock on the cluster is not to outlive the command that holds it.
        os.closerange(3, tell)
        process.die_with(parent)
        _become_harmless()
        outcome = Outcome(value=function(scratch))
    except OSError as error:
        outcome = Outcome(cause=str(error))
    except Exception as error:  # a defect of a probe must not become a sandbox's lack without a trace
        outcome = Outcome(cause=f"the probe failed: {error!r}")
    os.write(tell, msgspec.json.encode(outcome))
    os._exit(0)


def _become_harmless() -> None:
    """What a forked probe does first: die by the signals that its parent handles."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


def _gather(running: dict[str, tuple[int, int]], deadline: float) -> dict[str, Outcome]:
    found: dict[str, Outcome] = {}
    parts: dict[str, bytes] = dict.fromkeys(running, b"")
    with selectors.DefaultSelector() as selector:
        for name, (_, answer) in running.items():
            selector.register(answer, selectors.EVENT_READ, name)
        while len(found) < len(running) and (remaining := deadline - time.monotonic()) > 0:
            for key, _ in selector.select(remaining):
                content = os.read(key.fd, 65536)
                parts[key.data] += content
                if not content:
                    selector.unregister(key.fd)
                    found[key.data] = _outcome(parts[key.data])
    for name, (pid, answer) in running.items():
        os.close(answer)
        if name not in found:
            os.kill(pid, signal.SIGKILL)
            found[name] = Outcome(cause=f"no answer within {LIMIT_SECONDS:g} s")
        os.waitpid(pid, 0)
    return found


def _outcome(content: bytes) -> Outcome:
    return msgspec.json.decode(content, type=Outcome) if content else Outcome(cause="the probe's process was killed")
