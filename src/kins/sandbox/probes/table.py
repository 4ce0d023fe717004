"""How a topic lists its probes: by the name of the fact that each gives."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

# A probe gets an empty directory of its own on the file system that holds the clusters.
Probe = Callable[[Path], Any]
# Facts that say whether something works.
Answers = dict[str, Callable[[Path], None]]
# Facts that are values: the probe, and what counts where it fails.
Values = dict[str, tuple[Probe, Any]]
# Probes whose answer is several facts by name, and what counts where one fails, by its cause.
Several = dict[str, tuple[Callable[[Path], dict[str, Any]], Callable[[str], dict[str, Any]]]]
