"""syncfs(2)."""

from __future__ import annotations

import os
from pathlib import Path

from kins.sys import libc


def sync_file_system(path: Path) -> None:
    """Bring to the disk what the file system that holds `path` has in memory. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        libc.check(libc.library.syncfs(descriptor), "syncfs", str(path))
    finally:
        os.close(descriptor)
