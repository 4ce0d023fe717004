"""A report on disk: `report.json`, `report.md` and the plots beside them."""

from __future__ import annotations

from pathlib import Path

import msgspec

from kins.soak.document import markdown
from kins.soak.plots import write_plots
from kins.soak.watch import Observed


def write_report(observed: Observed, directory: Path, command: str) -> None:
    """Write everything into a directory, made if need be. `command` is the command line that made it."""
    directory.mkdir(parents=True, exist_ok=True)
    plots = write_plots(observed, directory)
    (directory / "report.md").write_text(markdown(observed.report, command, plots))
    (directory / "report.json").write_bytes(msgspec.json.format(msgspec.json.encode(observed.report)) + b"\n")
