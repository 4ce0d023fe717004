"""Programs of the sandbox that the node's software calls."""

from __future__ import annotations

import shutil
from pathlib import Path

from kins.sandbox.probes.table import Values

PROGRAMS = ("mount", "umount")


def programs(_: Path) -> dict[str, bool]:
    """Whether the programs are there that the kubelet calls."""
    return {name: shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin") is not None for name in PROGRAMS}


VALUES: Values = {"programs": (programs, {})}
