"""Results on disk."""

from __future__ import annotations

from pathlib import Path

import msgspec

from kins.experiments.document import markdown
from kins.experiments.runner import Ran


def write_result(ran: Ran, directory: Path, command: str) -> None:
    """Write `NN-name.md`, `NN-name.json` and `NN-name-PLOT.svg` into a directory, made if need be."""
    directory.mkdir(parents=True, exist_ok=True)
    result = ran.result
    stem = directory / f"{result.number}-{result.name}"
    plots = {f"{stem.name}-{name}": content for name, content in ran.plots.items()}
    for name, content in plots.items():
        (directory / name).write_bytes(content)
    stem.with_suffix(".md").write_text(markdown(result, command, list(plots)))
    stem.with_suffix(".json").write_bytes(msgspec.json.format(msgspec.json.encode(result)) + b"\n")
