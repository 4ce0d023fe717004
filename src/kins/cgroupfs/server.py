"""Mounting, serving, unmounting."""

from __future__ import annotations

import errno
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path

from kins.cgroupfs import protocol
from kins.cgroupfs.control_groups import ControlGroups
from kins.cgroupfs.enforcement import Enforcement
from kins.cgroupfs.files import of_version
from kins.cgroupfs.filesystem import ControlGroupFileSystem
from kins.errors import KinsError
from kins.sys import mounts, user_namespaces

log = logging.getLogger(__name__)

DEVICE = "/dev/fuse"
# Seen in mount tables as the source.
SOURCE = "kins-cgroupfs"
# A request may need the answer to another one: gVisor's mountinfo asks for our root's attributes.
THREADS = 10


def serve(groups: ControlGroups, mount: Path, enforcement: Enforcement | None = None) -> None:
    """Mount on a directory and answer until SIGTERM or SIGINT, or until it is unmounted. Raises KinsError."""
    check_device()
    unmount_dead(mount)
    groups.load()
    over = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, frame: over.set())
    system = ControlGroupFileSystem(
        groups, of_version(groups.version), lambda: log.debug("the kernel has begun to ask")
    )
    try:
        device = mounted(mount)
    except OSError as error:
        raise KinsError(
            f"cannot mount control groups on {mount}: {error.strerror}",
            code="control-groups-not-mounted",
            hint=f"ls -ld {mount}",
        ) from error
    for _ in range(THREADS):
        start("answers", lambda: answer_all(device, system, over))
    try:
        system.nodes.device = device_of(mount)
        start("watch", groups.watch)
        if enforcement is not None:
            start("limits", lambda: enforcement.watch(groups.stopping))
        notify("READY=1")
        over.wait()
    finally:
        try:
            mounts.unmount(str(mount), lazy=True)
        except OSError as error:  # somebody else has done it
            log.debug("unmount: %s", error)
        groups.close()


def check_device() -> None:
    """Raises KinsError where the kernel has no FUSE for us."""
    try:
        os.close(os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        raise KinsError(
            f"control groups in FUSE need {DEVICE}: {error.strerror}", code="fuse-missing", hint=f"ls -l {DEVICE}"
        ) from error


def start(name: str, work: Callable[[], None]) -> None:
    """A thread that ends with the process."""
    threading.Thread(target=work, name=name, daemon=True).start()


def mounted(mount: Path) -> int:
    """Mount, and return the descriptor on which the kernel asks (fuse(4)). Raises OSError."""
    device = os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC)
    options = f"fd={device},rootmode=40000,user_id={os.getuid()},group_id={os.getgid()},allow_other"
    if user_namespaces.identities() > 1:
        # Else everybody is the owner, whom gVisor does not know by that namespace's number.
        options += ",default_permissions"
    try:
        mounts.mount(SOURCE, str(mount), "fuse", mounts.MS_NOSUID | mounts.MS_NODEV, options)
    except OSError:
        os.close(device)
        raise
    return device


def answer_all(device: int, system: ControlGroupFileSystem, over: threading.Event) -> None:
    """Answer one request after the other until the file system is unmounted."""
    while True:
        try:
            message = os.read(device, protocol.BUFFER)
        except OSError as error:
            # ENOENT: who asked does not want to know any more. ENODEV: it is unmounted.
            if error.errno in (errno.ENOENT, errno.EAGAIN):
                continue
            if error.errno != errno.ENODEV:
                log.warning("read %s: %s", DEVICE, error)
            over.set()
            return
        reply = system.answer(protocol.parse(message))
        if reply is None:
            continue
        try:
            os.write(device, reply)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENODEV):
                log.warning("write %s: %s", DEVICE, error)


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
