"""unshare(2), setns(2), pivot_root(2)."""

from __future__ import annotations

import ctypes
import os
import platform

from kins.sys import libc

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


def pivot_root(new_root: str, put_old: str) -> None:
    """Make `new_root` the root and put the old one at `put_old`."""
    number = _PIVOT_ROOT[platform.machine()]
    libc.check(libc.library.syscall(number, os.fsencode(new_root), os.fsencode(put_old)), "pivot_root", new_root)
