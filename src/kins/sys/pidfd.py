"""Descriptors of other processes: pidfd_open(2), pidfd_getfd(2)."""

from __future__ import annotations

import os

from kins.sys import libc

# The same on every architecture; glibc has a wrapper from 2.36 on.
_PIDFD_GETFD = 438


def descriptor_of(pid: int, number: int) -> int:
    """A descriptor of another process as one of our own, closed on exec. Raises OSError."""
    process = os.pidfd_open(pid)
    try:
        return libc.check(libc.library.syscall(_PIDFD_GETFD, process, number, 0), "pidfd_getfd")
    finally:
        os.close(process)
