"""Who may change a cluster: one command at a time."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from kins.cluster import home_directory
from kins.errors import KinsError
from kins.sys import process

# A daemon tells its pid within a second of its orders; in a busy gVisor it may take longer.
HANDOVER_SECONDS = 10.0
HANDOVER_INTERVAL = 0.02


@contextlib.contextmanager
def exclusive(name: str) -> Iterator[int]:
    """Hold the right to change the cluster. Raises KinsError `cluster-busy` when another command holds it.

    Yields the descriptor of the lock. A process that inherits it holds the lock as well, until it closes it.
    """
    path = home_directory.clusters() / f"{name}.lock"
    with _locked_file(name, path) as lock:
        try:
            yield lock.fileno()
        finally:
            with home_directory.uninterrupted():
                path.unlink(missing_ok=True)
                home_directory.remove()


def _locked_file(name: str, path: Path) -> IO[bytes]:
    """The lock file, locked, with our pid in it. A holder that was killed may have left the lock to a daemon, which is
    waited for: it closes it as soon as it can be found."""
    deadline = time.monotonic() + HANDOVER_SECONDS
    while True:
        lock = _opened(path)
        if _locked(lock.fileno(), path):
            os.truncate(lock.fileno(), 0)
            os.write(lock.fileno(), str(os.getpid()).encode())
            return lock
        lock.close()
        holder = _holder(path)
        if time.monotonic() > deadline or (holder is not None and process.is_running(holder)):
            raise KinsError(
                f"another kins command{'' if holder is None else f' (pid {holder})'} is working on cluster {name!r}",
                code="cluster-busy",
                hint=f"kins status {name}",
            )
        time.sleep(HANDOVER_INTERVAL)


def _holder(path: Path) -> int | None:
    """The pid in the lock file; None when the file is gone, or its holder is about to write."""
    try:
        return int(path.read_text())
    except (FileNotFoundError, ValueError):
        return None


def _opened(path: Path) -> IO[bytes]:
    """The lock file, made if need be. The directory may go, with the last cluster in it, before we are in there."""
    while True:
        home_directory.make()
        with contextlib.suppress(FileNotFoundError):
            return open(path, "ab")


def _locked(descriptor: int, path: Path) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Its holder removes the file at its end: a lock on a removed one would exclude nobody.
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except (BlockingIOError, FileNotFoundError):
        return False
