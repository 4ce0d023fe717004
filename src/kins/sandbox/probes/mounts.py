"""Mounts of every kind that a node makes."""

from __future__ import annotations

from pathlib import Path

from kins.sandbox.probes.places import directories, overlay, private_mounts, tmpfs
from kins.sandbox.probes.table import Answers
from kins.sys import mounts


def mount_kinds(scratch: Path) -> None:
    """tmpfs, bind, shared and private mounts."""
    private_mounts()
    source, target = directories(tmpfs(scratch), "source", "target")
    mounts.bind(str(source), str(target))
    mounts.make_shared(str(target))
    mounts.make_private(str(target))
    mounts.unmount(str(target), lazy=True)


def overlay_on_data(scratch: Path) -> None:
    """An overlay whose upper directory is on the disk of the clusters."""
    private_mounts()
    overlay(scratch, str(directories(scratch, "lower")[0]), scratch / "merged")


def overlay_on_tmpfs(scratch: Path) -> None:
    """An overlay whose upper directory is on tmpfs, over a lower one on tmpfs."""
    private_mounts()
    place = tmpfs(scratch)
    overlay(place, str(directories(place, "lower")[0]), place / "merged")


def overlay_on_proc_sys(scratch: Path) -> None:
    """An overlay over /proc/sys in which a file can be made."""
    private_mounts()
    overlay(tmpfs(scratch), "/proc/sys", Path("/proc/sys"))


ANSWERS: Answers = {
    "mounts": mount_kinds,
    "overlay_on_data": overlay_on_data,
    "overlay_on_tmpfs": overlay_on_tmpfs,
    "overlay_on_proc_sys": overlay_on_proc_sys,
}
