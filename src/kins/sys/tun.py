"""Devices whose packets a program takes and gives (tun(4), kernel: Documentation/networking/tuntap.rst)."""

from __future__ import annotations

import fcntl
import os
import struct

DEVICE = "/dev/net/tun"
TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x1, 0x1000


def open_tun(name: str) -> int:
    """Make a device in this network namespace; it goes when the descriptor is closed. Raises OSError."""
    descriptor = os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
