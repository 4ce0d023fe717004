"""Where clusters are kept on disk."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TypeVar

import msgspec

from kins.cluster.spec import Record, validate_name
from kins.components import Layout
from kins.errors import KinsError, UsageError
from kins.sandbox.probing import clear_remains
from kins.sys import process

Data = TypeVar("Data")
# sockaddr_un holds 108 bytes (unix(7)); the longest name below a cluster's directory is that of a notify socket.
LONGEST_DIRECTORY = 107 - len("/run/notify-kube-controller-manager.sock")

UNWRITABLE = (errno.EROFS, errno.EACCES, errno.EPERM)
PLACES = ("/var/tmp", "/tmp", "/run", "/dev/shm")
# A daemon tells its pid within a second of its orders; in a busy gVisor it may take longer.
HANDOVER_SECONDS = 10.0
HANDOVER_INTERVAL = 0.02


class ProcessRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Which process it is. The start time (clock ticks) and boot keep a reused pid from being taken for it."""

    pid: int
    start_time: int
    boot: str

    @classmethod
    def of(cls, pid: int) -> ProcessRecord:
        """The record of a living process."""
        return cls(pid=pid, start_time=process.start_time(pid), boot=process.boot())

    def is_alive(self) -> bool:
        """Whether that very process still runs. An older kins wrote no boot where the kernel has no id for it."""
        return (not self.boot or process.is_this_boot(self.boot)) and process.is_alive(self.pid, self.start_time)


def home() -> Path:
    """KINS_HOME, or the user's data directory (XDG Base Directory Specification)."""
    configured = os.environ.get("KINS_HOME")
    if configured:
        return Path(configured).absolute()
    import platformdirs  # not needed, and not loaded, when KINS_HOME is set

    return platformdirs.user_data_path("kins")


def clusters_directory() -> Path:
    """The directory with one directory per cluster."""
    return home() / "clusters"


def layout(name: str) -> Layout:
    """The files of the cluster of that name, which need not exist. Raises UsageError for a bad name or too long a
    path."""
    validate_name(name)
    directory = clusters_directory() / name
    if len(os.fsencode(directory)) > LONGEST_DIRECTORY:
        raise UsageError(
            f"the path {directory} is too long for unix sockets below it",
            code="path-too-long",
            hint="export KINS_HOME=/tmp/kins",
        )
    return Layout(directory)


def existing(name: str) -> Layout:
    """The files of a cluster that exists. Raises KinsError `no-such-cluster`."""
    found = layout(name)
    if not found.directory.exists():
        raise no_such_cluster(name)
    return found


def no_such_cluster(name: str) -> KinsError:
    """The error about a cluster that does not exist."""
    return KinsError(f"there is no cluster {name!r}", code="no-such-cluster", hint="kins list")


def names() -> list[str]:
    """The clusters that have a directory, sorted."""
    directory = clusters_directory()
    return sorted(entry.name for entry in directory.iterdir() if entry.is_dir()) if directory.exists() else []


@contextlib.contextmanager
def exclusive(name: str) -> Iterator[int]:
    """Hold the right to change the cluster. Raises KinsError `cluster-busy` when another command holds it.

    Yields the descriptor of the lock. A process that inherits it holds the lock as well, until it closes it.
    """
    path = clusters_directory() / f"{name}.lock"
    with _locked_file(name, path) as lock:
        try:
            yield lock.fileno()
        finally:
            with _uninterrupted():
                path.unlink(missing_ok=True)
                _remove_home()


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


@contextlib.contextmanager
def at_home() -> Iterator[Path]:
    """The home directory, made if need be; at the end it goes if nothing is in it."""
    _make_home()
    try:
        yield home()
    finally:
        _remove_home()


def _opened(path: Path) -> IO[bytes]:
    """The lock file, made if need be. The directory may go, with the last cluster in it, before we are in there."""
    while True:
        _make_home()
        with contextlib.suppress(FileNotFoundError):
            return open(path, "ab")


def _make_home() -> None:
    """Make the directory of the clusters, if need be; a note tells which directories above were made for it."""
    directory = clusters_directory()
    with _uninterrupted():
        missing = [str(place) for place in (*home().parents, home()) if not place.exists()]
        _make(directory)
        if missing:
            # Deepest first, as they will be removed.
            _note().write_bytes(msgspec.json.encode(sorted(missing, key=len, reverse=True)))


def _make(directory: Path) -> None:
    """A directory at home or below it. Raises KinsError `home-unwritable`."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        raise KinsError(
            f"clusters are kept in {home()}, which cannot be written: {error}",
            code="home-unwritable",
            hint=f"export KINS_HOME={_writable_place()}/kins",
        ) from error


def _writable_place() -> str:
    """A directory for a hint: on a disk first."""
    return next((place for place in PLACES if os.access(place, os.W_OK | os.X_OK)), "DIRECTORY")


@contextlib.contextmanager
def lent_home() -> Iterator[Path]:
    """The directory that clusters are kept in, for as long as the block takes: it and those above it are gone then, if
    they were not there before."""
    missing = [place for place in (home(), *home().parents) if not place.exists()]
    _make(home())
    try:
        yield home()
    finally:
        with contextlib.suppress(OSError):  # somebody has begun to use it meanwhile
            for directory in missing:
                directory.rmdir()


def _note() -> Path:
    return home() / "made-directories.json"


def _remove_home() -> None:
    """Remove what `_make_home` made, as far as it is empty."""
    with contextlib.suppress(OSError):
        clusters_directory().rmdir()
        made = load(_note(), list[str]) or []
        if set(os.listdir(home())) <= {_note().name}:
            _note().unlink(missing_ok=True)
            for directory in made:
                os.rmdir(directory)


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Ctrl-C waits for the end of what nobody could find and finish later."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _locked(descriptor: int, path: Path) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Its holder removes the file at its end: a lock on a removed one would exclude nobody.
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except (BlockingIOError, FileNotFoundError):
        return False


def save(path: Path, value: msgspec.Struct) -> None:
    """Write a struct as JSON, readable by its owner only, whole or not at all."""
    new = path.with_name(path.name + ".new")
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(value)) + b"\n")
    new.replace(path)


def load(path: Path, kind: type[Data]) -> Data | None:
    """Read what `save` wrote into a cluster's directory; None when there is no such file. Raises KinsError
    `state-damaged`."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        hint = f"kins down {path.parent.name}"
        raise KinsError(f"{path} is damaged: {error}", code="state-damaged", hint=hint) from error


def record(files: Layout) -> Record | None:
    """The cluster's record, or None when creation was cut off before it was written."""
    return load(files.record, Record)


def supervisor(files: Layout) -> ProcessRecord | None:
    """The living supervisor, or None."""
    return _living(files.supervisor)


def outside(files: Layout) -> ProcessRecord | None:
    """The living process that stays outside of the user namespace of the cluster's node, or None."""
    return _living(files.outside)


def _living(path: Path) -> ProcessRecord | None:
    try:
        found = load(path, ProcessRecord)
    except KinsError:
        # `save` replaces it whole: only a crash of the machine damages it, which no supervisor outlives. `kins down`
        # must clean up after that too.
        return None
    return found if found is not None and found.is_alive() else None


def forget(files: Layout) -> None:
    """Remove everything that the cluster has on disk."""
    if files.directory.exists():
        shutil.rmtree(files.directory)
    clear_remains(home())
