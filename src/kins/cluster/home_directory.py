"""The directory of a user that clusters are kept in: made when it is needed, and gone with the last thing in it."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import msgspec

from kins.errors import KinsError

UNWRITABLE = (errno.EROFS, errno.EACCES, errno.EPERM)
PLACES = ("/var/tmp", "/tmp", "/run", "/dev/shm")


def path() -> Path:
    """KINS_HOME, or the user's data directory (XDG Base Directory Specification)."""
    configured = os.environ.get("KINS_HOME")
    if configured:
        return Path(configured).absolute()
    import platformdirs  # not needed, and not loaded, when KINS_HOME is set

    return platformdirs.user_data_path("kins")


def clusters() -> Path:
    """The directory with one directory per cluster."""
    return path() / "clusters"


@contextlib.contextmanager
def kept() -> Iterator[Path]:
    """The home directory, made if need be; at the end it goes if nothing is in it."""
    make()
    try:
        yield path()
    finally:
        remove()


@contextlib.contextmanager
def lent() -> Iterator[Path]:
    """The directory that clusters are kept in, for as long as the block takes: it and those above it are gone then, if
    they were not there before."""
    missing = [place for place in (path(), *path().parents) if not place.exists()]
    _make(path())
    try:
        yield path()
    finally:
        with contextlib.suppress(OSError):  # somebody has begun to use it meanwhile
            for directory in missing:
                directory.rmdir()


def make() -> None:
    """Make the directory of the clusters, if need be; a note tells which directories above were made for it."""
    directory = clusters()
    with uninterrupted():
        missing = [str(place) for place in (*path().parents, path()) if not place.exists()]
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
            f"clusters are kept in {path()}, which cannot be written: {error}",
            code="home-unwritable",
            hint=f"export KINS_HOME={_writable_place()}/kins",
        ) from error


def _writable_place() -> str:
    """A directory for a hint: on a disk first."""
    return next((place for place in PLACES if os.access(place, os.W_OK | os.X_OK)), "DIRECTORY")


def _note() -> Path:
    return path() / "made-directories.json"


def _made() -> list[str]:
    """What the note tells. A damaged one tells of nothing that could be removed."""
    try:
        return msgspec.json.decode(_note().read_bytes(), type=list[str])
    except (FileNotFoundError, msgspec.DecodeError, UnicodeDecodeError):
        return []


def remove() -> None:
    """Remove what `make` made, as far as it is empty."""
    with contextlib.suppress(OSError):
        clusters().rmdir()
        made = _made()
        if set(os.listdir(path())) <= {_note().name}:
            _note().unlink(missing_ok=True)
            for directory in made:
                os.rmdir(directory)


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Ctrl-C waits for the end of what nobody could find and finish later."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
