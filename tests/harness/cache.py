"""Directories and files that are made once, under a lock, and appear whole or not at all."""

from __future__ import annotations

import fcntl
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path


def made_once(target: Path, make: Callable[[Path], None]) -> Path:
    """`target`, made by `make(path)` if it is not there yet.

    `make` gets a path beside the target (so that the rename stays on one file system) and fills it with a file or a
    directory. Another process that wants the same target waits; a failed attempt leaves nothing.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with Path(f"{target}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if target.exists():
            return target
        workplace = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
        try:
            make(workplace / "new")
            (workplace / "new").rename(target)
        finally:
            shutil.rmtree(workplace)
    return target
