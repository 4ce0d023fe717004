"""What any cluster needs of the sandbox besides its kernel: room for its files, and descriptors."""

from __future__ import annotations

import os
import resource
from pathlib import Path

from kins.errors import KinsError
from kins.sys import process

# etcd alone reserves 64 MB twice before it says anything (server/storage/wal, SegmentSizeBytes).
LEAST_ROOM = 160 << 20
# The API server has 90 files open at rest, most of them connections to etcd, and one more for each kind of object that
# somebody adds. etcd keeps 150 of its limit for itself and takes connections for the rest (embed/etcd.go,
# reservedInternalFDNum).
LEAST_DESCRIPTORS = 512
DESCRIPTORS = 65536
# capabilities(7): the right to raise hard limits.
CAP_SYS_RESOURCE = 1 << 24


def check_room(home: Path) -> None:
    """Raises KinsError `disk-full` where a cluster could not even begin."""
    free = os.statvfs(home)
    room = free.f_bavail * free.f_frsize
    if room < LEAST_ROOM:
        raise KinsError(
            f"{home} has {room / 2**20:.0f} MiB left, and a cluster needs {LEAST_ROOM / 2**20:.0f} MiB to begin with",
            code="disk-full",
            hint="export KINS_HOME=DIRECTORY, on a file system with more room (df -h)",
        )


def check_descriptors() -> None:
    """Raises KinsError `few-descriptors` where the API server could not have its connections."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < LEAST_DESCRIPTORS and not process.effective_capabilities() & CAP_SYS_RESOURCE:
        raise KinsError(
            f"a process may have {hard} open files here, and the API server needs {LEAST_DESCRIPTORS}",
            code="few-descriptors",
            hint="ulimit -n 65536 before kins, as root; in Docker: docker run --ulimit nofile=65536",
        )


def raise_descriptor_limit() -> None:
    """Let this process and its children have as many open files as may be (setrlimit(2)).

    Go programs raise the soft limit to the hard one by themselves; the hard one only root can raise.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(hard, DESCRIPTORS), max(hard, DESCRIPTORS)))
    except (ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
