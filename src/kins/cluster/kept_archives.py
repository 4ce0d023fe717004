"""The archives that a node loads again at its next start, because its store is in memory (ADR 0007).

Each has a directory of its own below the cluster's `images`. It lies in there under its own name, which names the image
of an OCI layout that has tags alone, and the names that it was loaded under stand beside it.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from kins.cluster import store
from kins.components import Layout

INDEX = "index.json"
CONTENT = "content"


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """An archive: where it lies, when it was loaded (seconds since the epoch), its names, and those of them that were
    removed since."""

    path: str
    loaded_at: float
    names: tuple[str, ...]
    removed: tuple[str, ...] = ()


def kept(files: Layout) -> list[Kept]:
    """All archives in the order of their loading. What a crash left half-written is none."""
    found = (store.load(path, Kept) for path in files.images.glob(f"*/{INDEX}"))
    return sorted((each for each in found if each is not None), key=lambda each: each.loaded_at)


def removed(archives: Iterable[Kept]) -> list[str]:
    """The names that are in some archive and that no archive shall bring."""
    gone: set[str] = set()
    wanted: set[str] = set()
    for each in archives:
        gone.update(each.removed)
        wanted.update(set(each.names) - set(each.removed))
    return sorted(gone - wanted)


def keep(files: Layout, archive: Path, names: Sequence[str]) -> None:
    """Keep a copy of a loaded archive; its names are no longer those of an earlier one."""
    place = files.images / hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()[:16]
    forget(files, names)
    shutil.rmtree(place, ignore_errors=True)
    target = place / CONTENT / archive.resolve().name
    target.parent.mkdir(mode=0o700, parents=True)
    try:
        if archive.is_dir():
            shutil.copytree(archive, target)
        else:
            shutil.copyfile(archive, target)
        store.save(place / INDEX, Kept(path=str(target), loaded_at=time.time(), names=tuple(names)))
    except BaseException:
        shutil.rmtree(place)
        raise


def forget(files: Layout, names: Iterable[str]) -> None:
    """Load these names no more; an archive that has no other is deleted."""
    for each in kept(files):
        gone = set(each.removed) | set(names).intersection(each.names)
        place = Path(each.path).parent.parent
        if gone == set(each.names):
            shutil.rmtree(place)
        elif gone != set(each.removed):
            store.save(place / INDEX, msgspec.structs.replace(each, removed=tuple(sorted(gone))))
