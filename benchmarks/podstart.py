"""How long a pod of a present image takes from its creation to Running, in a cluster that is up.

A small client beside the cluster creates each pod and watches it through the API, as its user would.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Sequence
from itertools import product
from typing import Any, NamedTuple

from tests.harness.environment import CommandFailed

from benchmarks import machine, options, places, report

RUN_SECONDS = 1200.0
TITLES = {
    ("one after another", "running"): "one after another: create to Running",
    ("one after another", "gone"): "one after another: delete to gone",
    ("at once", "running"): "at once: create to Running",
    ("at once", "all"): "at once: first create to last Running",
    ("at once", "gone"): "at once: delete to gone",
}


class Run(NamedTuple):
    """The pods of one cluster. `busy` is the share of the processors' time that other work took, the
    larger one of right before and right after."""

    place: str
    busy: float
    found: dict[str, dict[str, list[float]]]


def measure(installation: places.Installation, place: str, chosen: Any) -> Run:
    """The pods of one cluster in a new environment."""
    program = ["benchmarks.inside.podstart", f"--single={chosen.pods}", f"--together={chosen.at_once}"]
    with places.environment(place, installation) as environment:
        busy = machine.wait_for_quiet(chosen.patience)
        found = places.measured(environment, installation, program, RUN_SECONDS)
    return Run(place, max(busy, machine.busy_share()), found)


def text(runs: Sequence[Run], chosen: Sequence[str]) -> str:
    """One table for each place, and the ratios."""
    values = {
        (place, title): [value for run in runs if run.place == place for value in run.found[group][name]]
        for place in chosen
        for (group, name), title in TITLES.items()
    }
    header = ["seconds", "pods", "min", "median", "p90", "max"]
    parts = []
    for place in chosen:
        rows = [spread(title, values[place, title]) for title in TITLES.values() if values[place, title]]
        parts.append(f"{place}\n\n{report.table(header, rows)}")
    if len(chosen) > 1:
        ratios = [
            [title, report.shown(report.ratio(*(values[place, title] for place in reversed(chosen))))]
            for title in TITLES.values()
        ]
        parts.append(report.table(["medians", "gvisor/native"], ratios))
    return "\n\n".join(parts)


def spread(title: str, values: Sequence[float]) -> list[str]:
    """A row: how many, minimum, median, 90th percentile, maximum."""
    figures = (min(values), statistics.median(values), report.percentile(values, 0.9), max(values))
    return [title, str(len(values)), *map(report.shown, figures)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 1 when a run failed."""
    parser = options.parser("benchmarks/podstart", __doc__, runs=1)
    parser.add_argument("--pods", type=int, default=20, help="pods one after another (default: %(default)s)")
    parser.add_argument("--at-once", type=int, default=10, help="pods at once, after those (default: %(default)s)")
    chosen = parser.parse_args(arguments)
    installation = places.from_source() if chosen.source else places.from_wheel()
    where = options.places(chosen.environment)
    runs, failures = [], []
    for number, place in product(range(chosen.runs), where):
        try:
            runs.append(measure(installation, place, chosen))
            told = str(runs[-1].found)
        except CommandFailed as error:
            failures.append(str(error))
            told = f"failed: {error}"
        print(f"run {number + 1}: {place}: {told}", file=sys.stderr, flush=True)
    outcome = options.Outcome(chosen, installation.origin, [run._asdict() for run in runs], failures)
    return outcome.show(text(runs, where))


if __name__ == "__main__":
    sys.exit(main())
