"""`kins soak`."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Any

import click

from kins.cli.names import name_argument
from kins.cli.output import is_json, output_option, show, talk


@click.command(
    "soak",
    epilog="""\b
Examples:
  kins soak --minutes 5
  kins soak dev --minutes 60 --report soak     with plots: pip install 'kins[soak]'
  kins soak --minutes 10 --churn 0             watch without a load
""",
)
@name_argument
@click.option("--minutes", type=click.FloatRange(min=0, min_open=True), required=True, help="How long to watch.")
@click.option(
    "--churn",
    type=click.FloatRange(min=0),
    default=2000.0,
    show_default=True,
    metavar="N",
    help="Container starts an hour, in pods of three; 0 for none.",
)
@click.option(
    "--report",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Write report.md, report.json and plots there.",
)
@output_option
def command(name: str, minutes: float, churn: float, report: Path | None, **_: Any) -> None:
    """Watch the running cluster NAME under a load: exit code 0 if it stayed healthy, 1 if not.

    Sees when the node is not Ready, restarts, error lines, memory, CPU and descriptors of every component, and how
    quickly the API answers, while pods come and go. Ctrl-C ends it early, with the report of what was seen.
    """
    from kins.soak.document import summary
    from kins.soak.watch import SoakSpec, soak

    if report is not None:
        from kins.soak.plots import require_plots

        require_plots()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    observed = soak(SoakSpec(name=name, seconds=minutes * 60, churn=churn), _quiet if is_json() else talk)
    if report is not None:
        from kins.soak.files import write_report

        write_report(observed, report, f"kins soak {name} --minutes {minutes:g} --churn {churn:g}")
    show(observed.report, lambda: summary(observed.report))
    sys.exit(0 if observed.report.healthy else 1)


def _quiet(_: str) -> None:
    """Beside JSON nothing is told."""
