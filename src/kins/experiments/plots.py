"""The plots of a watch, kept for the report where leather is installed to draw them."""

from __future__ import annotations

from pathlib import Path

from kins.errors import KinsError
from kins.experiments.context import Context
from kins.soak.plots import write_plots
from kins.soak.watch import Observed

# Below the experiment's directory.
PLOTS = "plots"


def keep_plots(context: Context, observed: Observed) -> None:
    """Draw them, or say that they cannot be drawn."""
    directory = context.directory / PLOTS
    directory.mkdir()
    try:
        write_plots(observed, directory)
    except KinsError as error:
        context.tell(f"no plots: {error.message}")


def drawn(directory: Path) -> dict[str, bytes]:
    """What was drawn in an experiment's directory, by name."""
    return {path.name: path.read_bytes() for path in sorted((directory / PLOTS).glob("*.svg"))}
