"""What probes do in a mount namespace of their own."""

from __future__ import annotations

import contextlib
from pathlib import Path

from kins.sys import mounts, namespaces


def private_mounts() -> None:
    """From here on nobody else sees what this process mounts, and all of it ends with the process."""
    namespaces.unshare(namespaces.CLONE_NEWNS)
    mounts.make_private("/", recursive=True)


def tmpfs(scratch: Path) -> Path:
    """The scratch directory, in memory."""
    mounts.mount("probe", str(scratch), "tmpfs")
    return scratch


def directories(place: Path, *names: str) -> list[Path]:
    """Directories of these names in a place."""
    made = [place / name for name in names]
    for directory in made:
        directory.mkdir(exist_ok=True)
    return made


def own_proc() -> None:
    """A /proc like the node's, if one can be mounted: containers' /proc/sys is often read-only, a new one's is not."""
    with contextlib.suppress(OSError):
        private_mounts()
        mounts.mount("proc", "/proc", "proc")
