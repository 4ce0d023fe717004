"""Mounting, serving, unmounting."""

from __future__ import annotations

import errno
import logging
import os
import socket
import threading
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from kins.cgroupfs.control_groups import ControlGroups
from kins.cgroupfs.enforcement import Enforcement
from kins.errors import KinsError
from kins.sys import mounts

if TYPE_CHECKING:
    from kins.cgroupfs.filesystem import ControlGroupFileSystem

log = logging.getLogger(__name__)

# What fuse_main() returns when a signal has ended it, or the mount was removed (libfuse, lib/helper.c).
STOPPED = (7, 8)
# Owners and modes change through this mount only, so the kernel knows of it. Names too, but gVisor does not forget
# those below a directory that is removed: "stale file handle" in the next one of the same name. A second is enough for
# who asks for many files in a row.
CACHED_SECONDS = {"entry_timeout": 1, "attr_timeout": 1_000_000, "negative_timeout": 0}


def serve(groups: ControlGroups, mount: Path, enforcement: Enforcement | None = None) -> None:
    """Mount on a directory and answer until SIGTERM or SIGINT, or until it is unmounted. Raises KinsError."""
    # Loads libfuse, whose absence must be a sentence and not a traceback.
    mfusepy = load_library()
    from kins.cgroupfs.files import of_version
    from kins.cgroupfs.filesystem import ControlGroupFileSystem

    unmount_dead(mount)
    groups.load()
    watchers = [threading.Thread(target=groups.watch, name="watch", daemon=True)]
    if enforcement is not None:
        watchers.append(threading.Thread(target=enforcement.watch, args=(groups.stopping,), name="limits", daemon=True))
    system = ControlGroupFileSystem(groups, of_version(groups.version), lambda system: mounted(system, mount, watchers))
    try:
        mfusepy.FUSE(
            system,
            str(mount),
            foreground=True,
            # A request may need the answer to another one: gVisor's mountinfo asks for our root's attributes.
            nothreads=False,
            fsname="kins-cgroupfs",
            allow_other=True,
            default_permissions=True,
            # Contents have no size: without it the kernel reads none of them.
            direct_io=True,
            **CACHED_SECONDS,
        )
    except RuntimeError as error:
        if system.paths.device and error.args[0] in STOPPED:
            return
        raise KinsError(
            f"cannot mount control groups on {mount}: libfuse failed with {error}",
            code="control-groups-not-mounted",
            hint="ls -l /dev/fuse",
        ) from error
    finally:
        groups.close()


def load_library() -> ModuleType:
    """mfusepy with libfuse 2 or 3. Raises KinsError where one of them is missing."""
    try:
        import mfusepy
    except ImportError as error:
        raise KinsError(
            "control groups in FUSE need the Python package mfusepy",
            code="fuse-missing",
            hint="pip install 'kins[cgroupfs]'",
        ) from error
    except (OSError, AttributeError) as error:
        raise KinsError(
            f"control groups in FUSE need libfuse: {error}", code="fuse-missing", hint="apt-get install libfuse3-3"
        ) from error
    loaded: ModuleType = mfusepy
    return loaded


def mounted(system: ControlGroupFileSystem, mount: Path, watchers: list[threading.Thread]) -> None:
    """The mount is there: find its device number, and tell who waits for it (sd_notify(3))."""
    system.paths.device = device_of(mount)
    for watcher in watchers:
        watcher.start()
    notify("READY=1")


def device_of(mount: Path) -> str:
    """The device number of a mount as mountinfo writes it; stat(2) would wait for our own answer."""
    target = os.path.realpath(mount.parent) + f"/{mount.name}"
    found = ""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields = line.split(" ")
        if fields[4] == target:
            found = fields[2]
    return found


def unmount_dead(mount: Path) -> None:
    """Unmount what an earlier server left that was killed: whoever looks there gets ENOTCONN.

    Not stat(2), which the kernel may answer from what it has kept.
    """
    for _ in range(8):
        try:
            os.statvfs(mount)
            return
        except OSError as error:
            if error.errno != errno.ENOTCONN:
                raise
            mounts.unmount(str(mount), lazy=True)


def notify(message: str) -> None:
    """sd_notify(3), where somebody waits for it."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as connection:
        connection.sendto(message.encode(), address.replace("@", "\0", 1) if address[0] == "@" else address)
