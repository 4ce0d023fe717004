"""Where clusters are kept on disk."""

from __future__ import annotations

import os
import shutil
from functools import partial
from pathlib import Path
from typing import TypeVar

import msgspec

from kins.cluster import home_directory
from kins.cluster.spec import Record, validate_name
from kins.components import Layout
from kins.errors import KinsError, UsageError
from kins.sandbox.probing import clear_remains
from kins.sys import process, user_namespaces

Data = TypeVar("Data")
# sockaddr_un holds 108 bytes (unix(7)); the longest name below a cluster's directory is that of a notify socket.
LONGEST_DIRECTORY = 107 - len("/run/notify-kube-controller-manager.sock")


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


def layout(name: str) -> Layout:
    """The files of the cluster of that name, which need not exist. Raises UsageError for a bad name or too long a
    path."""
    validate_name(name)
    directory = home_directory.clusters() / name
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
    directory = home_directory.clusters()
    return sorted(entry.name for entry in directory.iterdir() if entry.is_dir()) if directory.exists() else []


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


def remove_tree(directory: Path) -> None:
    """A node of an ordinary user leaves directories that only root of its user namespace may change."""
    try:
        shutil.rmtree(directory)
    except PermissionError:
        user_namespaces.run(partial(shutil.rmtree, directory))


def forget(files: Layout) -> None:
    """Remove everything that the cluster has on disk."""
    if files.directory.exists():
        remove_tree(files.directory)
    clear_remains(home_directory.path())
