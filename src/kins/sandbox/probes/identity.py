"""Who we are, and what the machine has."""

from __future__ import annotations

import os
from pathlib import Path

from kins.sys import process


def identity(_: Path) -> dict[str, int]:
    """Who we are and what the machine has."""
    return {
        "uid": os.getuid(),
        "capabilities": process.effective_capabilities(),
        "memory": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        "cores": len(os.sched_getaffinity(0)),
    }
