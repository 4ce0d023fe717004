"""What a Service costs: throughput, latency and connections from one pod to another, directly and through a cluster IP
in turn; then many Services at once, and how long a change of one of them takes to be in force.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from tests.harness import BUILD, ROOT

from benchmarks import machine, options, places, report

RUN_SECONDS = 1800.0
TOOL = "/opt/traffic"
FIGURES = {
    "stream": "throughput of one connection, MB/s",
    "round trip": "question and answer of 100 bytes, ms",
    "connections": "connections per second, one after another",
}


def compiled() -> Path:
    """The program that makes the traffic, static, so that it runs in every container."""
    target = BUILD / "benchmarks" / "traffic"
    target.parent.mkdir(parents=True, exist_ok=True)
    command = [os.environ.get("CC", "cc"), "-O2", "-static", "-Wall", "-Wextra", "-Werror"]
    subprocess.run([*command, "-o", str(target), str(ROOT / "benchmarks" / "inside" / "traffic.c")], check=True)
    return target


def measure(installation: places.Installation, place: str, chosen: Any) -> options.Run:
    """One cluster in a new environment."""
    program = ["benchmarks.inside.services", f"--tool={TOOL}", f"--rounds={chosen.rounds}"]
    program += [f"--services={chosen.services}", f"--endpoints={chosen.endpoints}"]
    with places.environment(place, installation, {compiled(): TOOL}) as environment:
        busy = machine.wait_for_quiet(chosen.patience)
        found = places.measured(environment, installation, program, RUN_SECONDS)
    return options.Run(place, max(busy, machine.busy_share()), found)


def text(runs: Sequence[options.Run], chosen: Sequence[str]) -> str:
    """Two tables for each place."""
    parts = []
    for place in chosen:
        found = [run.found for run in runs if run.place == place]
        if found:
            parts += [f"{place}\n\n{traffic([each['traffic'] for each in found])}"]
            parts += [many([each["many"] for each in found])]
    return "\n\n".join(parts)


def traffic(found: Sequence[dict[str, list[dict[str, float]]]]) -> str:
    """Medians of all rounds, and their ratio."""
    rows = []
    for figure, title in FIGURES.items():
        direct, through = ([each[figure] for rounds in found for each in rounds[way]] for way in ("direct", "service"))
        digits = 3 if figure == "round trip" else 0
        cells = [report.shown(median(values), digits) for values in (direct, through)]
        rows.append([title, *cells, report.shown(report.ratio(through, direct))])
    return report.table(["medians", "direct", "through a Service", "ratio"], rows)


def many(found: Sequence[dict[str, Any]]) -> str:
    """The figures of many Services."""
    changes = [seconds * 1e3 for each in found for seconds in each["changes"]]
    rows = [
        ["until all were made, s", report.shown(median([each["posted"] for each in found]), 1)],
        ["and the last one answered, s", report.shown(median([each["last in force after"] for each in found]), 3)],
        ["a change is in force after, ms: median", report.shown(median(changes), 1)],
        ["the same: longest", report.shown(max(changes), 1)],
    ]
    for name, unit in (("memory", 2**20), ("descriptors", 1)):
        for when in ("before", "after"):
            value = median([each[when][name] / unit for each in found])
            rows.append([f"the proxy's {name}, {'MiB, ' if unit > 1 else ''}{when}", report.shown(value, 0)])
    return report.table(["many Services", ""], rows)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 1 when a run failed."""
    parser = options.parser("benchmarks/services", __doc__, runs=1)
    parser.add_argument("--rounds", type=int, default=5, help="of traffic, each way in turn (default: %(default)s)")
    parser.add_argument("--services", type=int, default=1000, help="Services at once (default: %(default)s)")
    parser.add_argument("--endpoints", type=int, default=5, help="endpoints of each of them (default: %(default)s)")
    chosen = parser.parse_args(arguments)
    return options.run_each(chosen, measure, text)


if __name__ == "__main__":
    sys.exit(main())
