"""The directory of each run below the home directory: its journal, and how what a killed run left is found.

The processes of a run hold a lock on its directory. A directory that nobody has locked is a remain.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from kins.cluster import home_directory
from kins.cluster.store import remove_tree
from kins.plan import Journal


class RunFiles:
    """The paths of one run."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.journal = Journal(directory / "journal.jsonl")
        self.kernel_settings = directory / "proc-sys"
        self.rules = directory / "intercept.json"
        self.programs = directory / "bin"
        self.data = directory / "data"
        self.covered = directory / "covered"
        self.outside = directory / "outside.sock"
        self.pods = directory / "egress"
        self.resolvers = directory / "resolv.conf"
        # Unique on the machine: control groups outlive namespaces.
        self.group = f"kins-run-{directory.name}"

    def remove(self) -> None:
        """Undo the steps and remove the directory. Raises KinsError `undo-failed`, and keeps the journal then."""
        self.journal.undo()
        remove_tree(self.directory)


@contextlib.contextmanager
def new_run() -> Iterator[RunFiles]:
    """The directory of a new run, locked by this process and those that it forks; at the end everything is undone."""
    with home_directory.kept(), _all_runs() as place:
        _clear(place)
        directory = place / secrets.token_hex(3)
        directory.mkdir(mode=0o700)
        lock = _locked(directory)
        assert lock is not None, "nobody else knows it"
    files = RunFiles(directory)
    try:
        yield files
    finally:
        with home_directory.kept():
            files.remove()
            os.close(lock)
            _remove_if_empty(place)


def clear_remains() -> int:
    """Undo what killed runs left; how many there were. Raises KinsError `undo-failed`."""
    if not _place().exists():
        return 0
    with home_directory.kept(), _all_runs() as place:
        count = _clear(place)
    with home_directory.kept():
        _remove_if_empty(place)
    return count


def _place() -> Path:
    return home_directory.path() / "runs"


def _clear(place: Path) -> int:
    count = 0
    for directory in sorted(place.iterdir()):
        lock = _locked(directory)
        if lock is not None:
            try:
                RunFiles(directory).remove()
            finally:
                os.close(lock)
            count += 1
    return count


@contextlib.contextmanager
def _all_runs() -> Iterator[Path]:
    """The directory of runs, made if need be, with the right to add to it and to remove from it."""
    place = _place()
    while True:
        place.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(place, os.O_RDONLY)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        # Whoever was last may have removed it meanwhile: a lock on a removed one would exclude nobody.
        if place.exists() and os.path.samestat(os.fstat(descriptor), os.stat(place)):
            break
        os.close(descriptor)
    try:
        yield place
    finally:
        os.close(descriptor)


def _remove_if_empty(place: Path) -> None:
    with contextlib.suppress(OSError):
        place.rmdir()


def _locked(directory: Path) -> int | None:
    """A descriptor that holds the lock, or None when a run does."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor
