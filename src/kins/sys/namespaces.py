"""unshare(2), setns(2), pivot_root(2)."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
from collections.abc import Callable

from kins.sys import libc, mounts

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

# glibc and musl have no wrapper for pivot_root(2).
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}


def unshare(flags: int) -> None:
    """Leave the namespaces of these kinds for new ones. Raises OSError."""
    libc.check(libc.library.unshare(ctypes.c_int(flags)), "unshare")


def setns(descriptor: int, flags: int) -> None:
    """Enter the namespace behind a descriptor of /proc/PID/ns/*."""
    libc.check(libc.library.setns(ctypes.c_int(descriptor), ctypes.c_int(flags)), "setns")


def run_with_private_mounts(function: Callable[[], None]) -> None:
    """Run a function in a child process whose mounts nobody else sees and that end with it. Raises OSError."""
    child = os.fork()
    if child == 0:
        # What fails here is told by the exit status, which has room for an errno.
        try:
            unshare(CLONE_NEWNS)
            mounts.make_private("/", recursive=True)
            function()
        except OSError as error:
            os._exit(error.errno or errno.EIO)
        except BaseException:
            os._exit(errno.EIO)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code:
        raise OSError(code, os.strerror(abs(code)))


def pivot_root(new_root: str, put_old: str) -> None:
    """Make `new_root` the root and put the old one at `put_old`."""
    number = _PIVOT_ROOT[platform.machine()]
    libc.check(libc.library.syscall(number, os.fsencode(new_root), os.fsencode(put_old)), "pivot_root", new_root)
