"""Devices that node software opens."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from kins.sandbox.probes.places import private_mounts
from kins.sandbox.probes.table import Answers
from kins.sys import mounts


def kernel_messages(_: Path) -> None:
    """The kubelet's out-of-memory watcher opens /dev/kmsg and ends the kubelet without it.

    An empty file in its place is no device; a running cluster has one there, which only its node sees as more.
    """
    device = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
    if not stat.S_ISCHR(os.fstat(device).st_mode):
        raise OSError(errno.ENODEV, "a file that is no device", "/dev/kmsg")


def fuse(scratch: Path) -> None:
    """A FUSE file system mounted; nobody serves it, and it ends with the process."""
    private_mounts()
    device = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={device},rootmode=40000,user_id={os.getuid()},group_id={os.getgid()}"
    mounts.mount("probe", str(scratch), "fuse", 0, options)
    mounts.unmount(str(scratch), lazy=True)


ANSWERS: Answers = {"kernel_messages": kernel_messages, "fuse": fuse}
