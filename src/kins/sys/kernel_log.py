"""syslog(2)."""

from __future__ import annotations

import ctypes

from kins.sys import libc

SYSLOG_ACTION_READ_ALL = 3
SIZE = 65536


def read() -> str:
    """The end of the kernel's log; nothing where it may not be read."""
    buffer = ctypes.create_string_buffer(SIZE)
    size = libc.library.klogctl(SYSLOG_ACTION_READ_ALL, buffer, SIZE)
    return buffer.raw[:size].decode(errors="replace") if size > 0 else ""
