"""Directory trees as data, for comparing them."""

from __future__ import annotations

import os
from pathlib import Path


def tree(directory: Path) -> dict[str, object]:
    """What is below a directory, with modes of files that can be executed."""
    found: dict[str, object] = {}
    for path in sorted(directory.rglob("*")):
        name = str(path.relative_to(directory))
        if path.is_symlink():
            found[name] = os.readlink(path)
        elif path.is_file():
            found[name] = (path.read_bytes().replace(str(directory).encode(), b"HERE"), os.access(path, os.X_OK))
        else:
            found[name] = None
    return found


def modes(directory: Path) -> list[int]:
    """The modes of everything below a directory."""
    return [path.lstat().st_mode for path in sorted(directory.rglob("*"))]
