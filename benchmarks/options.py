"""What all benchmarks can be told."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from itertools import product
from statistics import median
from typing import Any, NamedTuple

from tests.harness.environment import CommandFailed

from benchmarks import machine
from benchmarks.places import PLACES, Installation, from_source, from_wheel


def parser(program: str, description: str | None, *, runs: int) -> argparse.ArgumentParser:
    """A parser with the common options."""
    found = argparse.ArgumentParser(prog=program, description=description)
    found.add_argument(
        "--environment", choices=(*PLACES, "both"), default="both", help="where to measure (default: %(default)s)"
    )
    found.add_argument(
        "--runs", type=int, default=runs, help="how often, each in a new environment (default: %(default)s)"
    )
    found.add_argument("--source", action="store_true", help="the source tree instead of the wheel in dist/")
    found.add_argument(
        "--patience",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="before each run, wait this long for other work on the machine to end (default: do not wait)",
    )
    found.add_argument("--output", choices=("text", "json"), default="text")
    return found


def places(choice: str) -> tuple[str, ...]:
    """The places that `--environment` names."""
    return PLACES if choice == "both" else (choice,)


class Outcome(NamedTuple):
    """All that a program has measured, and what of it failed."""

    chosen: argparse.Namespace
    origin: str
    runs: list[dict[str, Any]]
    failures: list[str]

    def show(self, text: str) -> int:
        """Print the results as they were asked for, with where they come from; returns the exit status."""
        if self.chosen.output == "json":
            described = {"machine": machine.description(), "installed-from": self.origin}
            json.dump({**described, "runs": self.runs, "failures": self.failures}, sys.stdout, indent=2)
            sys.stdout.write("\n")
        else:
            print(f"{self._introduction()}\n\n{text}")
        return 1 if self.failures else 0

    def _introduction(self) -> str:
        shares = [run["busy"] for run in self.runs] or [0.0]
        lines = [
            f"{machine.description()}; kins from the {self.origin}; {self.chosen.runs} runs of each",
            f"other work before or after a run: {median(shares):.0%} of the CPUs' time, at most {max(shares):.0%}",
        ]
        if self.failures:
            lines.append(f"{len(self.failures)} failed, and are in no table")
        return "\n".join(lines)


class Run(NamedTuple):
    """What one cluster showed. `busy` is the share of the processors' time that other work took, the larger one of
    right before and right after."""

    place: str
    busy: float
    found: Any


def run_each(
    chosen: argparse.Namespace,
    measure: Callable[[Installation, str, argparse.Namespace], Run],
    text: Callable[[Sequence[Run], Sequence[str]], str],
) -> int:
    """Measure in each place as often as was chosen, places taking turns, and print; 1 when a run failed."""
    installation = from_source() if chosen.source else from_wheel()
    where = places(chosen.environment)
    runs, failures = [], []
    for number, place in product(range(chosen.runs), where):
        try:
            runs.append(measure(installation, place, chosen))
            told = str(runs[-1].found)
        except CommandFailed as error:
            failures.append(str(error))
            told = f"failed: {error}"
        print(f"run {number + 1}: {place}: {told}", file=sys.stderr, flush=True)
    return Outcome(chosen, installation.origin, [run._asdict() for run in runs], failures).show(text(runs, where))
