"""Results on disk."""

from __future__ import annotations

from pathlib import Path

import msgspec

from kins.experiments.document import markdown
from kins.experiments.model import ExperimentResult


def write_result(result: ExperimentResult, directory: Path, command: str) -> None:
    """Write `NN-name.md` and `NN-name.json` into a directory, made if need be."""
    directory.mkdir(parents=True, exist_ok=True)
    stem = directory / f"{result.number}-{result.name}"
    stem.with_suffix(".md").write_text(markdown(result, command))
    stem.with_suffix(".json").write_bytes(msgspec.json.format(msgspec.json.encode(result)) + b"\n")
