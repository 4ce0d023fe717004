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
from kins.sandbox.probes import ANSWERS, DETAILS, SEVERAL, VALUES
from kins.sandbox.probes.identity import identity
from kins.sandbox.probes.table import Probe
from kins.sys import process

# A probe that has not answered this long after the last one that did hangs, which is an answer as well: some requests
# in gVisor with the host's network are never answered. A limit from the start would take a busy machine for a lack.
LIMIT_SECONDS = 1.4
# However slowly the others trickle in.
LONGEST_SECONDS = 20.0


class Outcome(msgspec.Struct, frozen=True):
    """What came out of a probe's process: a value, or the reason why there is none."""

    value: Any = None
    cause: str | None = None


def probe(home: Path, *, details: bool = False) -> Facts:
    """Ask the sandbox; with `details` also for what no decision rests on. `home` is an existing directory on the file
    system where clusters will be kept."""
    clear_remains(home)
    scratch = home / f"probe-{os.getpid()}"
    scratch.mkdir(mode=0o700)
    try:
        return _facts(_run_all(scratch, details))
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
    # The one probe that cannot fail needs no process.
    values: dict[str, Any] = identity(Path())
    for name, outcome in outcomes.items():
        cause = outcome.cause
        if name in ANSWERS:
            values[name] = Answer(cause is None, cause or "")
        elif name in VALUES:
            values[name] = outcome.value if cause is None else VALUES[name][1]
        else:
            values |= outcome.value if cause is None else SEVERAL[name][1](cause)
    return msgspec.convert(values, Facts)


def _run_all(scratch: Path, details: bool) -> dict[str, Outcome]:
    functions: dict[str, Probe] = {**ANSWERS}
    functions |= {name: function for name, (function, _) in (VALUES | SEVERAL).items()}
    asked = {name: function for name, function in functions.items() if details or name not in DETAILS}
    return _gather({name: _fork(function, scratch / name) for name, function in asked.items()})


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


def _gather(running: dict[str, tuple[int, int]]) -> dict[str, Outcome]:
    found: dict[str, Outcome] = {}
    parts: dict[str, bytes] = dict.fromkeys(running, b"")
    last = time.monotonic()
    longest = last + LONGEST_SECONDS
    with selectors.DefaultSelector() as selector:
        for name, (_, answer) in running.items():
            selector.register(answer, selectors.EVENT_READ, name)
        while len(found) < len(running):
            ready = selector.select(max(min(last + LIMIT_SECONDS, longest) - time.monotonic(), 0))
            if not ready:
                break
            for key, _ in ready:
                content = os.read(key.fd, 65536)
                parts[key.data] += content
                last = time.monotonic()
                if not content:
                    selector.unregister(key.fd)
                    found[key.data] = _outcome(parts[key.data])
    for name, (pid, answer) in running.items():
        os.close(answer)
        if name not in found:
            os.kill(pid, signal.SIGKILL)
            found[name] = Outcome(cause=f"no answer within {LIMIT_SECONDS:g} s after those of the other probes")
        os.waitpid(pid, 0)
    return found


def _outcome(content: bytes) -> Outcome:
    return msgspec.json.decode(content, type=Outcome) if content else Outcome(cause="the probe's process was killed")
