"""Who we are, and what the machine has."""

from __future__ import annotations

import os
import resource
from pathlib import Path
from typing import Any

from kins.sys import process, user_namespaces


def identity(_: Path) -> dict[str, Any]:
    """Facts by their names."""
    return {
        "uid": os.getuid(),
        "capabilities": process.effective_capabilities(),
        "memory": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        "cores": len(os.sched_getaffinity(0)),
        "descriptors": resource.getrlimit(resource.RLIMIT_NOFILE)[1],
        "kernel_release": os.uname().release,
        "identities": user_namespaces.identities(),
    }
