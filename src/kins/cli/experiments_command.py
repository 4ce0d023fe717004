"""`kins experiments`."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Any

import click

from kins.cli.output import is_json, output_option, show, table, talk


@click.group("experiments", epilog="\b\nExamples:\n  kins experiments list\n  kins experiments run 02 --minutes 5\n")
def command() -> None:
    """The experiments of a research report on Kubernetes in gVisor, repeated."""


@command.command("list", epilog="\b\nExamples:\n  kins experiments list\n")
@output_option
def list_experiments(**_: Any) -> None:
    """List the experiments, and what each lacks here."""
    from kins.experiments.catalogue import EXPERIMENTS

    found = [
        {"number": each.number, "name": each.name, "title": each.title, "lacks": each.lacks()} for each in EXPERIMENTS
    ]
    rows = [(str(each["number"]), str(each["title"]), "; ".join(each["lacks"]) or "-") for each in found]
    show(found, lambda: table(("NUMBER", "TITLE", "LACKS"), rows))


@command.command(
    "run",
    epilog="""\b
Examples:
  kins experiments run 02
  kins experiments run all --minutes 10 --report results
""",
)
@click.argument("numbers", nargs=-1, required=True)
@click.option(
    "--minutes",
    type=click.FloatRange(min=0, min_open=True),
    default=2.0,
    show_default=True,
    help="How long each watches what it has brought to work.",
)
@click.option(
    "--report",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Write NN-name.md, NN-name.json and plots there.",
)
@output_option
def run(numbers: tuple[str, ...], minutes: float, report: Path | None, **_: Any) -> None:
    """Run the experiments NUMBERS, such as 01 or all, one after another. Exit code 0 if each gave an answer.

    Each runs in namespaces and a directory of its own, and what it makes is undone. One that lacks something is not run
    and says what it lacks.
    """
    from kins.experiments.catalogue import EXPERIMENTS, by_number
    from kins.experiments.document import summary
    from kins.experiments.files import write_result
    from kins.experiments.runner import run_experiments

    chosen = EXPERIMENTS if "all" in numbers else tuple(by_number(number) for number in numbers)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    results = []
    for ran in run_experiments(chosen, minutes, _quiet if is_json() else talk):
        results.append(ran.result)
        if report is not None:
            write_result(ran, report, f"kins experiments run {ran.result.number} --minutes {minutes:g}")
    show(results, lambda: summary(results))
    sys.exit(0 if all(each.verdict in ("confirmed", "refuted") for each in results) else 1)


def _quiet(_: str) -> None:
    """Beside JSON nothing is told."""
