"""How long a cluster takes to come up, and what it needs in memory.

Every figure is counted from the start of the command (`kins up`), by a small client beside it that watches the API: not
by what the command says. Each run is one start in a new environment.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from tests.harness import BUILD
from tests.harness.environment import CommandFailed

from benchmarks import machine, options, places, report

CLUSTERS = ("control-plane", "fake", "node", "kwokctl")
TITLES = {
    "control-plane": "kins up --level control-plane",
    "fake": "kins up --level fake",
    "node": "kins up",
    "kwokctl": "kwokctl create cluster --runtime=binary, with the same programs",
}
MILESTONES = {
    "api": "API answers",
    "readyz": "readyz",
    "service-account": "default ServiceAccount",
    "node": "node Ready",
    "admitted": "first pod created",
    "pod": "first pod Running",
    "command": "the command returns",
    "delete": "removal",
}
COMPARED = ("api", "readyz", "service-account")
KWOKCTL = BUILD / "tools" / "kwokctl"
KWOKCTL_INSIDE = "/opt/peers/kwokctl"
# For a whole run: start, removal, and all between.
RUN_SECONDS = 300.0


class Run(NamedTuple):
    """One start. `busy` is the share of the processors' time that other work took, the
    larger one of right before and right after."""

    place: str
    cluster: str
    busy: float
    found: dict[str, Any]


class Results:
    """All runs. A figure of some place and cluster has a value for each run that reached it."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self.runs = runs

    def found(self, place: str, cluster: str) -> list[dict[str, Any]]:
        """What the runs of a kind found."""
        return [run.found for run in self.runs if (run.place, run.cluster) == (place, cluster)]

    def seconds(self, place: str, cluster: str, milestone: str) -> list[float]:
        """When a milestone was reached."""
        return [found["seconds"][milestone] for found in self.found(place, cluster) if milestone in found["seconds"]]

    def mebibytes(self, place: str, cluster: str, program: str | None = None) -> list[float]:
        """The memory of a program, or of all together."""
        counts = [found["memory"]["bytes"] for found in self.found(place, cluster)]
        if program is None:
            return [sum(each.values()) / 2**20 for each in counts]
        return [each[program] / 2**20 for each in counts if program in each]

    def command_seconds(self, place: str, cluster: str, command: str) -> list[float]:
        """The wall times of a short command."""
        return [seconds for found in self.found(place, cluster) for seconds in found["commands"].get(command, ())]

    def programs(self, cluster: str) -> list[str]:
        """All programs that were seen in a kind of cluster."""
        return sorted({name for run in self.runs if run.cluster == cluster for name in run.found["memory"]["bytes"]})

    def commands(self, cluster: str) -> list[str]:
        """All short commands, in their order."""
        return list(
            dict.fromkeys(name for run in self.runs if run.cluster == cluster for name in run.found["commands"])
        )


def measure(installation: places.Installation, place: str, cluster: str, patience: float) -> Run:
    """One start in a new environment."""
    peers: dict[Path, str] = {KWOKCTL: KWOKCTL_INSIDE} if cluster == "kwokctl" else {}
    program = ["benchmarks.inside.startup", cluster, *(f"--kwokctl={inside}" for inside in peers.values())]
    with places.environment(place, installation, peers) as environment:
        busy = machine.wait_for_quiet(patience)
        found = places.measured(environment, installation, program, RUN_SECONDS)
    return Run(place, cluster, max(busy, machine.busy_share()), found)


def text(results: Results, chosen: Sequence[str]) -> str:
    """All tables."""
    clusters = [cluster for cluster in CLUSTERS if any(run.cluster == cluster for run in results.runs)]
    parts = [starts(results, cluster, chosen) for cluster in clusters]
    parts += [memory(results, cluster, chosen) for cluster in clusters]
    ours = [cluster for cluster in clusters if cluster != "kwokctl"]
    if ours:
        parts.append(commands(results, ours, chosen))
    if {"control-plane", "kwokctl"} <= set(clusters):
        parts.append(comparison(results, chosen))
    return "\n\n".join(parts)


def header(what: str, chosen: Sequence[str]) -> list[str]:
    """The header of a table with the minimum and the median of each place."""
    cells = [what, *(f"{place} {kind}" for place in chosen for kind in ("min", "median"))]
    return [*cells, "gvisor/native"] if len(chosen) > 1 else cells


def row(title: str, values: Sequence[Sequence[float]], digits: int = 2) -> list[str]:
    """A row below `header`; `values` are those of each place."""
    cells = [title, *(cell for each in values for cell in report.minimum_and_median(each, digits))]
    return [*cells, report.shown(report.ratio(values[1], values[0]))] if len(values) > 1 else cells


def starts(results: Results, cluster: str, chosen: Sequence[str]) -> str:
    """When each milestone was reached."""
    rows = []
    for milestone, title in MILESTONES.items():
        values = [results.seconds(place, cluster, milestone) for place in chosen]
        if any(values):
            rows.append(row(title, values))
    return f"{TITLES[cluster]}\n\n{report.table(header('seconds', chosen), rows)}"


def memory(results: Results, cluster: str, chosen: Sequence[str]) -> str:
    """What each program needs."""
    kinds = {run.place: run.found["memory"]["kind"].upper() for run in results.runs if run.cluster == cluster}
    said = ", ".join(f"{place}: {kind}" for place, kind in kinds.items())
    rows = []
    for name in results.programs(cluster):
        rows.append(row(name, [results.mebibytes(place, cluster, name) for place in chosen], 0))
    rows.append(row("all", [results.mebibytes(place, cluster) for place in chosen], 0))
    return f"{TITLES[cluster]}: memory of its programs ({said})\n\n{report.table(header('MiB', chosen), rows)}"


def commands(results: Results, clusters: Sequence[str], chosen: Sequence[str]) -> str:
    """Wall times of short commands."""
    rows = []
    for cluster in clusters:
        for name in results.commands(cluster):
            values = [results.command_seconds(place, cluster, name) for place in chosen]
            rows.append(row(f"{name} ({cluster})", values))
    return f"short commands\n\n{report.table(header('seconds', chosen), rows)}"


def comparison(results: Results, chosen: Sequence[str]) -> str:
    """kwokctl's times as multiples of those of kins."""
    rows = []
    for milestone in COMPARED:
        cells = [MILESTONES[milestone]]
        for place in chosen:
            ours = results.seconds(place, "control-plane", milestone)
            theirs = results.seconds(place, "kwokctl", milestone)
            cells.append(report.shown(report.ratio(theirs, ours)))
        rows.append(cells)
    table = report.table(["kwokctl/kins (medians)", *chosen], rows)
    return f"kwokctl create cluster against kins up --level control-plane\n\n{table}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 1 when a start failed."""
    parser = options.parser("benchmarks/startup", __doc__, runs=3)
    parser.add_argument(
        "--cluster", action="append", choices=CLUSTERS, help="what to start; can be repeated (default: all of them)"
    )
    chosen = parser.parse_args(arguments)
    clusters = [cluster for cluster in CLUSTERS if cluster in (chosen.cluster or CLUSTERS)]
    if "kwokctl" in clusters and not KWOKCTL.exists():
        parser.error(f"{KWOKCTL} is not there; run: make tools (or choose with --cluster)")
    installation = places.from_source() if chosen.source else places.from_wheel()
    where = options.places(chosen.environment)
    runs, failures = [], []
    for number in range(chosen.runs):
        # In turn, so that what changes on the machine meanwhile meets all of them alike.
        for place, cluster in product(where, clusters):
            try:
                runs.append(measure(installation, place, cluster, chosen.patience))
                told = str(runs[-1].found["seconds"])
            except CommandFailed as error:
                failures.append(str(error))
                told = f"failed: {error}"
            print(f"run {number + 1}: {place}, {cluster}: {told}", file=sys.stderr, flush=True)
    outcome = options.Outcome(chosen, installation.origin, [run._asdict() for run in runs], failures)
    return outcome.show(text(Results(runs), where))


if __name__ == "__main__":
    sys.exit(main())
