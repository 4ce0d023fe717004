"""Overlays, and what unpacking an image and running it does to one.

A mount alone says little: gVisor mounts an overlay whose upper directory is its gofer's (9p), and where the host's
directory is on an overlay itself, renames and whiteouts in it fail later.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from kins.sandbox.probes.places import directories
from kins.sys import mounts

# What makes a directory hide the one below it, in an overlay without the option `userxattr`.
OPAQUE = "trusted.overlay.opaque"


def mount_overlay(lower: str, upper: Path, work: Path, target: Path) -> None:
    """Mount an overlay. Raises OSError."""
    options = f"lowerdir={lower},upperdir={upper},workdir={work}"
    try:
        # Without `volatile` Linux syncs the whole disk when the overlay goes: 0.4 s.
        mounts.mount("probe", str(target), "overlay", 0, f"{options},volatile")
    except OSError:
        mounts.mount("probe", str(target), "overlay", 0, options)


def unpack(place: Path) -> None:
    """Unpack a layer over another one below `place` and use the result. Raises OSError."""
    lower, upper, work, merged = directories(place, "lower", "upper", "work", "merged")
    _fill_lower(lower)
    hidden = _apply_layer(upper)
    mount_overlay(str(lower), upper, work, merged)
    for name in hidden:
        if (merged / name).exists():
            raise OSError(errno.EINVAL, f"the overlay still shows what its upper layer removed: {name}")
    _use(merged)


def _fill_lower(lower: Path) -> None:
    for name in ("replaced", "deleted", "removed", "tree/inside", "hidden/inside"):
        (lower / name).parent.mkdir(exist_ok=True)
        (lower / name).write_text("lower")


def _apply_layer(upper: Path) -> list[str]:
    """What containerd does in the upper directory itself (pkg/archive/tar_opts_linux.go, OverlayConvertWhiteout);
    returns what is hidden by it. In a user namespace it does nothing of this, and the kernel refuses it."""
    (hidden,) = directories(upper, "hidden")
    try:
        os.setxattr(hidden, OPAQUE, b"y")
        os.mknod(upper / "removed", stat.S_IFCHR)
    except PermissionError:
        hidden.rmdir()
        return []
    except OSError as error:
        number = error.errno or errno.EIO
        raise OSError(number, f"the upper directory takes no whiteouts or {OPAQUE}: {os.strerror(number)}") from error
    return ["removed", "hidden/inside"]


def _use(merged: Path) -> None:
    """What package managers and programs do in a container: replace, delete, move, and make anew what was deleted."""
    (merged / "new").write_text("upper")
    (merged / "new").rename(merged / "replaced")
    (merged / "deleted").unlink()
    (merged / "deleted").write_text("upper")
    (merged / "tree" / "inside").unlink()
    (merged / "tree").rmdir()
    (merged / "tree").mkdir()
    (merged / "made").mkdir()
    (merged / "made" / "file").touch()
    (merged / "made").rename(merged / "moved")
    (merged / "moved" / "file").chmod(0o600)
    if (merged / "replaced").read_text() != "upper" or any((merged / "tree").iterdir()):
        raise OSError(errno.EINVAL, "the overlay does not show what was written to it")
