"""Directories and files that are made once, under a lock, and appear whole or not at all."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path


def made_once(target: Path, make: Callable[[Path], None], key: str = "") -> Path:
    """`target`, made by `make(path)` if it is not there yet, or was made for another `key`.

    `make` gets a path beside the target (so that the rename stays on one file system) and fills it with a file or a
    directory. Another process that wants the same target waits; a failed attempt leaves nothing. The key stands in the
    lock's file: give one where the target's name does not say what it was made from.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with Path(f"{target}.lock").open("a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.seek(0)
        if target.exists() and lock.read() == key:
            return target
        workplace = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
        try:
            make(workplace / "new")
            if target.exists():
                target.rename(workplace / "old")
            (workplace / "new").rename(target)
        finally:
            shutil.rmtree(workplace)
        lock.truncate(0)
        lock.write(key)
    return target


def hold(target: Path) -> None:
    """Keep `remove_unused` of every process away from `target`, present or yet to be made, while this process lives."""
    target.parent.mkdir(parents=True, exist_ok=True)
    # The descriptor stays open, and so the lock stays, until the process ends; its children do not get it.
    fcntl.flock(os.open(f"{target}.used", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC), fcntl.LOCK_SH)


def remove_unused(targets: Iterable[Path]) -> None:
    """Remove directories that no process holds."""
    for target in targets:
        with Path(f"{target}.used").open("a") as used:
            try:
                fcntl.flock(used, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            # Half of a directory must not be taken for a whole one, should this be interrupted.
            workplace = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
            target.rename(workplace / "old")
            shutil.rmtree(workplace)
