"""Mounts of every kind that a node makes."""

from __future__ import annotations

import errno
from pathlib import Path

from kins.sandbox.probes.overlays import mount_overlay, unpack
from kins.sandbox.probes.places import directories, private_mounts, tmpfs
from kins.sandbox.probes.table import Answers, Values
from kins.sys import mounts


def mount_kinds(scratch: Path) -> None:
    """tmpfs, bind, shared and private mounts."""
    private_mounts()
    source, target = directories(tmpfs(scratch), "source", "target")
    mounts.bind(str(source), str(target))
    mounts.make_shared(str(target))
    mounts.make_private(str(target))
    mounts.unmount(str(target), lazy=True)


def propagation(scratch: Path) -> None:
    """What is mounted below a shared mount is seen at its bind, as a volume in a container is."""
    private_mounts()
    place = tmpfs(scratch)
    mounts.make_shared(str(place))
    (bind,) = directories(place, "bind")
    mounts.bind(str(place), str(bind))
    (below,) = directories(place, "below")
    mounts.mount("probe", str(below), "tmpfs")
    (below / "file").touch()
    if not (bind / "below" / "file").exists():
        raise OSError(errno.EINVAL, "a mount below a shared mount does not show at its bind")


def root_shared(_: Path) -> bool:
    """Whether the mount at / is shared as it is; the last one of the table is on top."""
    tags = [entry.propagation for entry in mounts.mount_table() if entry.target == "/"]
    return bool(tags) and "shared:" in tags[-1]


def masking(scratch: Path) -> None:
    """The tmpfs that runc 1.3.3 and later puts over masked directories."""
    private_mounts()
    mounts.mount("probe", str(scratch), "tmpfs", mounts.MS_RDONLY, "nr_blocks=1,nr_inodes=1")


def overlay_on_data(scratch: Path) -> None:
    """An overlay whose upper directory is on the disk of the clusters, into which an image can be unpacked."""
    private_mounts()
    unpack(scratch)


def overlay_on_tmpfs(scratch: Path) -> None:
    """The same in memory."""
    private_mounts()
    unpack(tmpfs(scratch))


def overlay_on_proc_sys(scratch: Path) -> None:
    """An overlay over /proc/sys in which a file can be made."""
    private_mounts()
    upper, work = directories(tmpfs(scratch), "upper", "work")
    mount_overlay("/proc/sys", upper, work, Path("/proc/sys"))
    Path("/proc/sys/probe").touch()


ANSWERS: Answers = {
    "mounts": mount_kinds,
    "propagation": propagation,
    "masking": masking,
    "overlay_on_data": overlay_on_data,
    "overlay_on_tmpfs": overlay_on_tmpfs,
    "overlay_on_proc_sys": overlay_on_proc_sys,
}
VALUES: Values = {"root_shared": (root_shared, False)}
