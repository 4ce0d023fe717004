"""unshare(2), setns(2), pivot_root(2)."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

from kins.sys import libc, mounts

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

# asm-generic/socket.h: the number of a socket's network namespace (Linux 5.14)
_SO_NETNS_COOKIE = 71

# glibc and musl have no wrapper for pivot_root(2).
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}


def unshare(flags: int) -> None:
    """Leave the namespaces of these kinds for new ones. Raises OSError."""
    libc.check(libc.library.unshare(ctypes.c_int(flags)), "unshare")


def setns(descriptor: int, flags: int) -> None:
    """Enter the namespace behind a descriptor of /proc/PID/ns/*."""
    libc.check(libc.library.setns(ctypes.c_int(descriptor), ctypes.c_int(flags)), "setns")


def network_identity() -> str:
    """Names the network namespace that we are in, as long as the machine runs; empty where nothing can be told.

    The cookie is never used twice; the number of the namespace's file, which gVisor has, may be after its end.
    """
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as asked:
            cookie = asked.getsockopt(socket.SOL_SOCKET, _SO_NETNS_COOKIE, 8)
        return f"cookie {int.from_bytes(cookie, sys.byteorder)}"
    except OSError:
        return _file_identity("/proc/self/ns/net")


def run_in_network(identity: str, function: Callable[[], None]) -> None:
    """Run a function in a child process in the network namespace that had this `network_identity`. Where no process is
    in it any more there is nothing to do. Raises OSError."""

    def search() -> None:
        for descriptor in _networks():
            try:
                setns(descriptor, CLONE_NEWNET)
            except PermissionError:
                continue  # of a user namespace in which we have no rights
            if network_identity() == identity:
                function()
                return

    _run_in_child(search)


def _networks() -> Iterator[int]:
    """Descriptors of the network namespaces that processes are in, each namespace once."""
    seen = set()
    for place in Path("/proc").glob("[0-9]*/ns/net"):
        try:
            descriptor = os.open(place, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            continue  # it has ended, or we may not look
        found = os.fstat(descriptor)
        if (found.st_dev, found.st_ino) not in seen:
            seen.add((found.st_dev, found.st_ino))
            yield descriptor
        os.close(descriptor)


def _file_identity(path: str) -> str:
    try:
        found = os.stat(path)
    except OSError:
        return ""
    return f"{found.st_dev}:{found.st_ino}"


def run_with_private_mounts(function: Callable[[], None]) -> None:
    """Run a function in a child process whose mounts nobody else sees and that end with it. Raises OSError."""

    def run() -> None:
        unshare(CLONE_NEWNS)
        mounts.make_private("/", recursive=True)
        function()

    _run_in_child(run)


def _run_in_child(function: Callable[[], None]) -> None:
    child = os.fork()
    if child == 0:
        end_with(function)
    wait(child)


def end_with(function: Callable[[], None]) -> NoReturn:
    """In a forked child: run a function, and end. What fails is told by the exit status, which has room for an
    errno."""
    try:
        function()
    except OSError as error:
        os._exit(error.errno or errno.EIO)
    except BaseException:
        os._exit(errno.EIO)
    os._exit(0)


def wait(child: int) -> None:
    """In its parent: wait for its end. Raises OSError for what failed in it."""
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code:
        raise OSError(code, os.strerror(abs(code)))


def pivot_root(new_root: str, put_old: str) -> None:
    """Make `new_root` the root and put the old one at `put_old`."""
    number = _PIVOT_ROOT[platform.machine()]
    libc.check(libc.library.syscall(number, os.fsencode(new_root), os.fsencode(put_old)), "pivot_root", new_root)
