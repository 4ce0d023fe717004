"""Which files kubectl reads and writes, and its locks (client-go tools/clientcmd/config.go and loader.go)."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from kins.errors import KinsError

LOCK_SECONDS = 5.0
# client-go's lock is the mere existence of a file: there is nothing to wait on but its disappearance.
LOCK_INTERVAL = 0.05


def paths(environment: Mapping[str, str]) -> list[Path]:
    """The files in the order of their precedence: those of KUBECONFIG, else ~/.kube/config."""
    listed = [entry for entry in environment.get("KUBECONFIG", "").split(os.pathsep) if entry]
    if listed:
        # By path, not by spelling: `a:./a` must not wait for its own lock.
        return list(dict.fromkeys(Path(entry) for entry in listed))
    home = environment.get("HOME")
    return [(Path(home) if home else Path.home()) / ".kube" / "config"]


def default(candidates: list[Path]) -> Path:
    """Where something new is written: the first file that exists, else the last of the list."""
    return next((path for path in candidates if path.exists()), candidates[-1])


@contextlib.contextmanager
def locked(candidates: list[Path]) -> Iterator[None]:
    """Hold kubectl's lock of every file, taken in sorted order as client-go does. Raises KinsError
    `kubeconfig-locked`."""
    with contextlib.ExitStack() as held:
        deadline = time.monotonic() + LOCK_SECONDS
        for path in sorted(candidates):
            lock = path.with_name(path.name + ".lock")
            _take(lock, path, deadline)
            held.callback(lock.unlink, missing_ok=True)
        yield


def _take(lock: Path, path: Path, deadline: float) -> None:
    try:
        while not _create(lock):
            if time.monotonic() > deadline:
                raise KinsError(
                    f"{path} is locked by another program: {lock} exists", code="kubeconfig-locked", hint=f"rm {lock}"
                )
            time.sleep(LOCK_INTERVAL)
    except OSError as error:
        raise KinsError(
            f"{path} cannot be written: {error}",
            code="kubeconfig-unwritable",
            hint="export KUBECONFIG=$HOME/kubeconfig",
        ) from error


def _create(lock: Path) -> bool:
    """Whether the lock is ours now; False when it is there already, or when its directory went (`remove` takes an empty
    one away) before we were in it."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.close(os.open(lock, os.O_CREAT | os.O_EXCL, 0))
    except (FileExistsError, FileNotFoundError):
        return False
    return True
