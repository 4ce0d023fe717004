"""mount(2), umount2(2), statfs(2) and the mount table (proc_pid_mountinfo(5))."""

from __future__ import annotations

import ctypes
import os
import re
from dataclasses import dataclass
from pathlib import Path

from kins.sys import libc

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_SYNCHRONOUS = 16
MS_REMOUNT = 32
MS_NOATIME = 1024
MS_NODIRATIME = 2048
MS_BIND = 4096
MS_REC = 16384
MS_UNBINDABLE = 1 << 17
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MS_SHARED = 1 << 20
MS_RELATIME = 1 << 21
MS_STRICTATIME = 1 << 24
MNT_FORCE = 1
MNT_DETACH = 2

# f_type of statfs(2); the gofer's 9p value is gVisor's (pkg/abi/linux/fs.go).
TMPFS = 0x01021994
EXT4 = 0xEF53
OVERLAY = 0x794C7630
GOFER_9P = 0x01021997
CGROUP_V1 = 0x27E0EB
CGROUP_V2 = 0x63677270


@dataclass(frozen=True)
class MountEntry:
    """One line of the mount table."""

    target: str
    kind: str
    source: str
    options: str
    super_options: str
    propagation: str


def mount(source: str, target: str, kind: str, flags: int = 0, data: str = "") -> None:
    """mount(2). Raises OSError."""
    arguments = (source.encode(), os.fsencode(target), kind.encode(), ctypes.c_ulong(flags), data.encode())
    libc.check(libc.library.mount(*arguments), f"mount {kind}", target)


def bind(source: str, target: str, recursive: bool = False) -> None:
    """See `source` at `target` as well."""
    mount(source, target, "none", MS_BIND | (MS_REC if recursive else 0))


def make_private(target: str, recursive: bool = False) -> None:
    """Mounts below are told to nobody, and nobody's are seen."""
    mount("none", target, "none", MS_PRIVATE | (MS_REC if recursive else 0))


def make_shared(target: str, recursive: bool = False) -> None:
    """Mounts below are told to binds and copies of this mount."""
    mount("none", target, "none", MS_SHARED | (MS_REC if recursive else 0))


def make_slave(target: str, recursive: bool = False) -> None:
    """Mounts come in from the peer group, none go out."""
    mount("none", target, "none", MS_SLAVE | (MS_REC if recursive else 0))


def unmount(target: str, lazy: bool = False, force: bool = False) -> None:
    """umount2(2)."""
    flags = (MNT_DETACH if lazy else 0) | (MNT_FORCE if force else 0)
    libc.check(libc.library.umount2(os.fsencode(target), flags), "umount", target)


class _Statfs(ctypes.Structure):
    # The kernel's struct statfs on 64-bit machines begins with the type; the rest is not looked at.
    _fields_ = (("f_type", ctypes.c_long), ("rest", ctypes.c_byte * 248))


def filesystem_type(path: str | Path) -> int:
    """statfs(2)'s f_type of the file system that holds a path."""
    found = _Statfs()
    libc.check(libc.library.statfs(os.fsencode(path), ctypes.byref(found)), "statfs", str(path))
    return int(found.f_type) & 0xFFFFFFFF


def mount_table() -> list[MountEntry]:
    """The mounts of this process's namespace, in the kernel's order."""
    return [_entry(line) for line in Path("/proc/self/mountinfo").read_text().splitlines()]


def _entry(line: str) -> MountEntry:
    fields, _, rest = line.partition(" - ")
    _, _, _, _, target, options, *optional = fields.split(" ")
    kind, source, super_options = (*rest.split(" "), "")[:3]
    propagation = " ".join(field for field in optional if field)
    return MountEntry(_unescape(target), kind, _unescape(source), options, super_options, propagation)


def _unescape(text: str) -> str:
    return re.sub(r"\\(\d{3})", lambda match: chr(int(match.group(1), 8)), text)
