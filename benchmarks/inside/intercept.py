"""Single system calls and whole programs, plain and under each way to intercept calls; neighbours in time compare."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

PROGRAMS = Path("/opt/interception")
# The type that the rules tell.
EXT4 = 0xEF53
# What the measuring program finds in the redirected file; without rules and peers it is `original`.
TARGET = "target"
BATCHES = 11
BATCH_MILLISECONDS = 8
LIMIT_SECONDS = 90.0

# For everyone the same: a path to redirect, a directory whose file system's type is told, and a release.
RULES = [
    {"redirect": {"from": "{place}/redirected", "to": "{place}/target"}},
    {"statfs": {"path": "{place}", "type": EXT4}},
    {"uname": {"release": "6.1.0"}},
]
# Which the backend of notifications does not know.
RULES_OF_PTRACE = [{"one_id": {}}]


class Failed(Exception):
    """A way to intercept does not work here; the text says how that shows."""


def ways(place: Path, tracer: Path) -> dict[str, list[str]]:
    """For each way, what stands before a command."""
    ours = {}
    for backend, rules in (("ptrace", [*RULES, *RULES_OF_PTRACE]), ("notify", RULES)):
        file = place / f"{backend}.json"
        filled = json.dumps(rules).replace("{place}", str(place))
        file.write_text(json.dumps({"version": 1, "rules": json.loads(filled)}))
        ours[f"kins-{backend}"] = [str(tracer), "--backend", backend, "--rules", str(file), "--"]
    bind = f"{place}/target:{place}/redirected"
    return {
        "plain": [],
        "filter": [str(PROGRAMS / "onlyfilter")],
        **ours,
        "strace": ["strace", "-f", "--seccomp-bpf", "-e", "trace=openat", "-o", "/dev/null"],
        "proot": ["proot", "-b", bind],
        "proot-every-call": ["env", "PROOT_NO_SECCOMP=1", "proot", "-b", bind],
        "every-call": [str(PROGRAMS / "everycall")],
    }


def wrong_backend(before: list[str], statistics: Path) -> str:
    """Why a way of kins would not measure the backend that it names, by what the tracer tells of itself; empty if it
    would."""
    asked = before[before.index("--backend") + 1]
    try:
        run([*before[:-1], "--statistics", str(statistics), "--", "true"])
    except Failed as error:
        return str(error)
    # Written at the tracer's end, a moment after the command's.
    deadline = time.monotonic() + 5
    while not statistics.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    used = json.loads(statistics.read_text())["backend"] if statistics.exists() else "nothing told"
    return "" if used == asked else f"asked for {asked}, got {used}"


def works(engine: Path) -> dict[str, list[str]]:
    """Whole programs: one that is large and written in Go, many processes, many files, many libraries."""
    return {
        "kubectl": [str(engine), "kubectl", "version", "--client"],
        "find": ["find", "/usr", "-size", "+1k"],
        "processes": ["sh", "-c", "n=0; while [ $n -lt 100 ]; do /bin/true; n=$((n+1)); done"],
        "python": ["python3", "-c", "import http.client, json, ssl, sqlite3, unittest, xml.dom.minidom"],
    }


def run(command: list[str]) -> str:
    """The output of a command that must succeed in time; it is killed with all that it started. Raises Failed."""
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            output, errors = process.communicate(timeout=LIMIT_SECONDS)
        except BaseException as error:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            if isinstance(error, subprocess.TimeoutExpired):
                raise Failed(f"no end within {LIMIT_SECONDS:g} s") from error
            raise
    if process.returncode != 0:
        said = (errors or output).strip().splitlines()[-3:]
        raise Failed(f"exit {process.returncode}: {' '.join(said)}")
    return output


def measure_calls(before: list[str], place: Path) -> Any:
    """Nanoseconds per call, and the answers."""
    return json.loads(run([*before, str(PROGRAMS / "calls"), str(place), str(BATCHES), str(BATCH_MILLISECONDS)]))


def measure_works(before: list[str], works: Mapping[str, list[str]]) -> dict[str, float]:
    """Seconds of each program."""
    found = {}
    for name, command in works.items():
        began = time.monotonic()
        run([*before, *command])
        found[name] = time.monotonic() - began
    return found


def rounds(
    ways: Mapping[str, list[str]], without: Mapping[str, str], count: int, measure: Callable[[list[str]], Any]
) -> dict[str, Any]:
    """What each way gives in each round; a way that fails has a text, and is not tried again, as those of `without`."""
    found: dict[str, Any] = {name: without.get(name) or [] for name in ways}
    for _ in range(count):
        for name, before in ways.items():
            if isinstance(found[name], list):
                try:
                    found[name].append(measure(before))
                except (Failed, OSError, ValueError) as error:
                    found[name] = str(error)
    return found


def main() -> None:
    """Measure and print the figures as JSON."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--engine", type=Path, required=True, help="the program kins-engine; the tracer is beside it")
    parser.add_argument("--rounds", type=int, required=True)
    options = parser.parse_args()
    tracer = options.engine.parent / "kins-intercept"
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        for name, content in (("plain", "plain"), ("redirected", "original"), ("target", TARGET)):
            (place / name).write_text(f"{content}\n")
        chosen = ways(place, tracer)
        programs = works(options.engine)
        # Once for the caches.
        measure_works([], programs)
        ours = [name for name in chosen if name.startswith("kins-")]
        without = {name: wrong_backend(chosen[name], place / f"{name}.json") for name in ours}
        calls = rounds(chosen, without, options.rounds, lambda before: measure_calls(before, place))
        whole = rounds(chosen, without, options.rounds, lambda before: measure_works(before, programs))
    support = json.loads(run([str(tracer), "probe"]))
    json.dump({"support": support, "calls": calls, "works": whole}, sys.stdout)


if __name__ == "__main__":
    main()
