"""What it costs to intercept system calls: single calls and whole programs, against doing nothing and against others.

One run measures all ways in turn, several times, in one environment. Figures are the least of all: what others do on
the machine only adds to them.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from tests.harness import BUILD, ROOT
from tests.harness.cache import made_once
from tests.harness.environment import CommandFailed
from tests.harness.rootfs import copy_tree, install_packages

from benchmarks import machine, options, places, report

# What Debian has to compare with.
PEERS = ("proot", "strace")
PROGRAMS = ("calls", "everycall", "onlyfilter")
PROGRAMS_INSIDE = "/opt/interception"
RUN_SECONDS = 3600.0

WAYS = {
    "plain": "plain",
    "filter": "a filter alone",
    "kins-ptrace": "kins, ptrace",
    "kins-notify": "kins, notify",
    "strace": "strace",
    "proot": "proot",
    "proot-every-call": "proot, no filter",
    "every-call": "every call",
}
CALLS = {
    "getppid": "getppid (no rule's call)",
    "read": "read (no rule's call)",
    "stat": "stat, no rule matches",
    "open": "open and close, no rule matches",
    "open-redirected": "open and close, redirected",
    "statfs": "statfs, answered by a rule",
    "chown": "chown, without its owner by a rule",
}
WORKS = {
    "kubectl": "kubectl version --client",
    "find": "find /usr -size +1k",
    "processes": "a shell starts 100 processes",
    "python": "python3 imports 6 packages",
}
# What kins' rules make of two calls (benchmarks/inside/intercept.py), by which one sees that they were in force.
ANSWERS = {"redirected": "target", "type": 0xEF53}


class Run(NamedTuple):
    """All ways in one environment. `busy` is the share of the processors' time that other work took, the larger one
    of right before and right after."""

    place: str
    busy: float
    found: dict[str, Any]


def compiled(directory: Path = BUILD / "benchmarks" / "interception") -> Path:
    """The directory of the C programs, static, so that they run in every environment."""
    directory.mkdir(parents=True, exist_ok=True)
    for name in PROGRAMS:
        source, target = ROOT / "benchmarks" / "inside" / f"{name}.c", directory / name
        command = [os.environ.get("CC", "cc"), "-O2", "-static", "-Wall", "-Wextra", "-Werror"]
        subprocess.run([*command, "-o", str(target), str(source)], check=True)
    return directory


def with_peers(installation: places.Installation) -> tuple[places.Installation, str]:
    """The installation with Debian's peers in its tree; where they cannot be had, as it is, with the reason."""
    digest = hashlib.sha256(" ".join([installation.tree.name, *PEERS]).encode()).hexdigest()[:12]
    try:
        tree = made_once(BUILD / "rootfs" / f"benchmark-{digest}", partial(_fill, installation.tree))
    except (OSError, RuntimeError, subprocess.CalledProcessError) as error:
        return installation, f"without {', '.join(PEERS)}: {str(error).strip().splitlines()[-1]}"
    return dataclasses.replace(installation, tree=tree), ""


def _fill(base: Path, target: Path) -> None:
    copy_tree(base, target)
    install_packages(target, PEERS)


def measure(installation: places.Installation, place: str, chosen: Any) -> Run:
    """All ways in a new environment."""
    program = ["benchmarks.inside.intercept", f"--rounds={chosen.rounds}"]
    with places.environment(place, installation, {compiled(): PROGRAMS_INSIDE}) as environment:
        busy = machine.wait_for_quiet(chosen.patience)
        found = places.measured(environment, installation, program, RUN_SECONDS)
    return Run(place, max(busy, machine.busy_share()), found)


class Results:
    """All runs. A way has values by round, runs one after another; one that failed in some run has a reason."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self.runs = runs

    def _rounds(self, kind: str, place: str, way: str) -> list[Any]:
        found = [run.found[kind][way] for run in self.runs if run.place == place]
        return [each for rounds in found if isinstance(rounds, list) for each in rounds]

    def reason(self, kind: str, place: str, way: str) -> str:
        """Why a way has no values; empty if it has some."""
        found = [run.found[kind][way] for run in self.runs if run.place == place]
        return next((each for each in found if isinstance(each, str)), "")

    def nanoseconds(self, place: str, way: str, call: str) -> list[float]:
        """A call's cost, batch after batch."""
        return [value for each in self._rounds("calls", place, way) for value in each["nanoseconds"][call]]

    def seconds(self, place: str, way: str, work: str) -> list[float]:
        """A program's time by round."""
        return [each[work] for each in self._rounds("works", place, way)]

    def answers(self, place: str, way: str) -> list[dict[str, Any]]:
        """What the two calls answered, by round."""
        return [each["answers"] for each in self._rounds("calls", place, way)]


def text(results: Results, chosen: Sequence[str]) -> str:
    """For each place a table of calls, one of programs, and what did not work."""
    parts = []
    for place in chosen:
        calls = {call: {way: results.nanoseconds(place, way, call) for way in WAYS} for call in CALLS}
        works = {work: {way: results.seconds(place, way, work) for way in WAYS} for work in WORKS}
        parts += table(f"{place}: microseconds per call, and times plain", calls, CALLS, 1000.0)
        parts += table(f"{place}: seconds, and times plain", works, WORKS, 1.0)
        parts += ["\n".join(remarks(results, place))]
    return "\n\n".join(filter(None, parts))


def table(
    heading: str, values: Mapping[str, Mapping[str, Sequence[float]]], titles: Mapping[str, str], divisor: float
) -> list[str]:
    """Heading and rows of least values with their ratios to plain, a column for each way that has values; nothing if
    none has."""
    present = [way for way in WAYS if any(row[way] for row in values.values())]
    rows = [
        [titles[name], *(cell(row[way], row["plain"], divisor, is_plain=way == "plain") for way in present)]
        for name, row in values.items()
    ]
    return [heading, report.table(["", *(WAYS[way] for way in present)], rows)] if present else []


def cell(values: Sequence[float], plain: Sequence[float], divisor: float, *, is_plain: bool) -> str:
    """The least value, and how many times the least one of plain it is."""
    if not values:
        return "-"
    least = min(values) / divisor
    shown = report.shown(least, 3 if least < 1 else 2 if least < 100 else 0)
    if is_plain or not plain:
        return shown
    ratio = min(values) / min(plain)
    return f"{shown} ({report.shown(ratio, 2 if ratio < 10 else 0)}x)"


def remarks(results: Results, place: str) -> list[str]:
    """What a reader must know to read the tables: ways that failed, and rules that were not in force."""
    reasons = [(way, results.reason(kind, place, way)) for way, kind in product(WAYS, ("calls", "works"))]
    said = [f"{place}: {WAYS[way]}: {reason}" for way, reason in dict.fromkeys(reasons) if reason]
    said += [
        f"{place}: {WAYS[way]}: the rules were not in force: {answers}"
        for way in ("kins-ptrace", "kins-notify")
        for answers in results.answers(place, way)
        if answers != ANSWERS
    ]
    return said


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 1 when a run failed."""
    parser = options.parser("benchmarks/intercept", __doc__, runs=1)
    parser.add_argument(
        "--rounds", type=int, default=5, help="how often each way is measured in a run (default: %(default)s)"
    )
    chosen = parser.parse_args(arguments)
    installation, lack = with_peers(places.from_source() if chosen.source else places.from_wheel())
    if lack:
        print(lack, file=sys.stderr)
    where = options.places(chosen.environment)
    runs, failures = [], []
    for number, place in product(range(chosen.runs), where):
        try:
            runs.append(measure(installation, place, chosen))
            told = f"{place}: measured"
        except CommandFailed as error:
            failures.append(str(error))
            told = f"{place}: failed: {error}"
        print(f"run {number + 1}: {told}", file=sys.stderr, flush=True)
    outcome = options.Outcome(chosen, installation.origin, [run._asdict() for run in runs], failures)
    return outcome.show(text(Results(runs), where))


if __name__ == "__main__":
    sys.exit(main())
