"""Where a measurement was made."""

from __future__ import annotations

import os

from kins.soak.report import Surroundings
from kins.sys import kernel_log, mounts

FILE_SYSTEMS = {
    mounts.TMPFS: "tmpfs",
    mounts.EXT4: "ext4",
    mounts.OVERLAY: "overlay",
    mounts.GOFER_9P: "9p",
}
# What gVisor's kernel says of itself (pkg/sentry/kernel, syslog.go) in its log, which dmesg(1) shows.
GVISOR = "Starting gVisor"


def surroundings() -> Surroundings:
    """What this process sees around it."""
    name = os.uname()
    kind = mounts.filesystem_type("/")
    return Surroundings(
        kernel=f"{name.sysname} {name.release} {name.machine}",
        sandbox="gVisor" if GVISOR in kernel_log.read() else "none that is known",
        root=FILE_SYSTEMS.get(kind, f"{kind:#x}"),
        cores=len(os.sched_getaffinity(0)),
        memory_bytes=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
    )
