"""Which files kubectl reads and writes, and its locks (client-go tools/clientcmd/config.go and loader.go)."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from kins.errors import KinsError
from kins.sys import process

LOCK_SECONDS = 5.0
# client-go's lock is the mere existence of a file: there is nothing to wait on but its disappearance.
LOCK_INTERVAL = 0.05
MARK = "kins"


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


def lock_of(path: Path) -> Path:
    """kubectl's lock of a file."""
    return path.with_name(path.name + ".lock")


@contextlib.contextmanager
def locked(candidates: list[Path]) -> Iterator[None]:
    """Hold kubectl's lock of every file, taken in sorted order as client-go does. Raises KinsError
    `kubeconfig-locked`."""
    with contextlib.ExitStack() as held:
        deadline = time.monotonic() + LOCK_SECONDS
        for path in sorted(candidates):
            lock = lock_of(path)
            _take(lock, path, deadline)
            held.callback(lock.unlink, missing_ok=True)
        yield


def _take(lock: Path, path: Path, deadline: float) -> None:
    try:
        while not _create(lock):
            clear_stale(path)
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
    one away) before we were in it. Unlike kubectl's it says whose it is."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except (FileExistsError, FileNotFoundError):
        return False
    with open(descriptor, "w") as file:
        file.write(f"{MARK} {os.getpid()} {process.start_time(os.getpid())}\n")
    return True


def clear_stale(path: Path) -> bool:
    """Remove the lock of a file when it is one of a kins that was killed; whether it was. kubectl's do not say whose
    they are."""
    lock = lock_of(path)
    with contextlib.suppress(OSError), open(lock) as file:
        # Of two that find it, one removes it, and the other must not remove what comes after it.
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if _is_stale(file.read()) and os.path.samestat(os.fstat(file.fileno()), os.stat(lock)):
            lock.unlink()
            return True
    return False


def _is_stale(content: str) -> bool:
    match content.split():
        case [mark, pid, started] if mark == MARK:
            return not process.is_alive(int(pid), int(started))
    return False
