"""How long a pod of a present image takes from its creation to Running, in a cluster that is up.

A small client beside the cluster creates each pod and watches it through the API, as its user would.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Sequence
from typing import Any

from benchmarks import machine, options, places, report

RUN_SECONDS = 1200.0
TITLES = {
    ("one after another", "running"): "one after another: create to Running",
    ("one after another", "gone"): "one after another: delete to gone",
    ("at once", "running"): "at once: create to Running",
    ("at once", "all"): "at once: first create to last Running",
    ("at once", "gone"): "at once: delete to gone",
}


def measure(installation: places.Installation, place: str, chosen: Any) -> options.Run:
    """The pods of one cluster in a new environment."""
    program = ["benchmarks.inside.podstart", f"--single={chosen.pods}", f"--together={chosen.at_once}"]
    with places.environment(place, installation) as environment:
        busy = machine.wait_for_quiet(chosen.patience)
        found = places.measured(environment, installation, program, RUN_SECONDS)
    return options.Run(place, max(busy, machine.busy_share()), found)


def text(runs: Sequence[options.Run], chosen: Sequence[str]) -> str:
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
    return options.run_each(chosen, measure, text)


if __name__ == "__main__":
    sys.exit(main())
