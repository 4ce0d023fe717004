"""The messages between a kernel and a FUSE server on /dev/fuse: include/uapi/linux/fuse.h, version 7.31.

Linux and gVisor speak it. All numbers are little-endian, as on every machine that both run on.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

MAJOR, MINOR = 7, 31
ROOT = 1
# What a request may be long: FUSE_MIN_READ_BUFFER, which has room for a write(2) of `MAX_WRITE` bytes and its headers.
BUFFER = 8192
MAX_WRITE = 4096

# Flags of INIT: lookups in one directory need not wait for each other.
PARALLEL_DIRECTORIES = 1 << 18
# Of an opened file: its contents have no size, and the kernel keeps none of them.
DIRECT_IO = 1
# Of GETATTR: it is asked through an open file.
BY_HANDLE = 1
# Of SETATTR: what is to be set.
SET_MODE, SET_USER, SET_GROUP = 1, 2, 4


class Operation(IntEnum):
    """enum fuse_opcode, those that are answered here."""

    LOOKUP = 1
    FORGET = 2
    GETATTR = 3
    SETATTR = 4
    SYMLINK = 6
    MKNOD = 8
    MKDIR = 9
    UNLINK = 10
    RMDIR = 11
    RENAME = 12
    LINK = 13
    OPEN = 14
    READ = 15
    WRITE = 16
    STATFS = 17
    RELEASE = 18
    FSYNC = 20
    SETXATTR = 21
    GETXATTR = 22
    LISTXATTR = 23
    REMOVEXATTR = 24
    FLUSH = 25
    INIT = 26
    OPENDIR = 27
    READDIR = 28
    RELEASEDIR = 29
    FSYNCDIR = 30
    ACCESS = 34
    CREATE = 35
    INTERRUPT = 36
    DESTROY = 38
    BATCH_FORGET = 42
    RENAME2 = 45


HEADER_IN = struct.Struct("<IIQQIIII")
HEADER_OUT = struct.Struct("<IiQ")
INIT_IN = struct.Struct("<IIII")
INIT_OUT = struct.Struct("<IIIIHHIIHH32x")
ATTRIBUTES = struct.Struct("<QQQQQQIIIIIIIIII")
ATTRIBUTES_OUT = struct.Struct("<QII")
ENTRY_OUT = struct.Struct("<QQQQII")
GETATTR_IN = struct.Struct("<IIQ")
SETATTR_IN = struct.Struct("<I64xIIIII")
OPEN_IN = struct.Struct("<II")
OPEN_OUT = struct.Struct("<QII")
# READ, READDIR and WRITE begin alike: handle, offset, size; what follows is of no interest here.
TRANSFER_IN = struct.Struct("<QQI20x")
WRITE_OUT = struct.Struct("<II")
HANDLE_IN = struct.Struct("<Q")
STATFS_OUT = struct.Struct("<QQQQQIIII24x")
MKDIR_IN = struct.Struct("<II")
RENAME_IN = struct.Struct("<Q")
RENAME2_IN = struct.Struct("<QII")
GETXATTR_IN = struct.Struct("<II")
DIRECTORY_ENTRY = struct.Struct("<QQII")
DIRECTORY_ALIGNMENT = 8


@dataclass(frozen=True)
class Request:
    """What is asked: `node` is the number of what it is about, `thread` who asks, in our pid namespace."""

    operation: int
    unique: int
    node: int
    user: int
    group: int
    thread: int
    body: bytes

    def names(self, after: int = 0) -> list[str]:
        """The file names at the end of the body, from a place in it on."""
        return [name.decode(errors="surrogateescape") for name in self.body[after:].split(b"\0")[:-1]]


@dataclass(frozen=True)
class Attributes:
    """What stat(2) shows. `mode` has the type too; `time` in nanoseconds is that of access, change and modification."""

    node: int
    mode: int
    user: int
    group: int
    links: int
    size: int
    time: int

    def packed(self) -> bytes:
        """struct fuse_attr."""
        seconds, rest = divmod(self.time, 1_000_000_000)
        times = (seconds, seconds, seconds, rest, rest, rest)
        owned = (self.mode, self.links, self.user, self.group)
        return ATTRIBUTES.pack(self.node, self.size, 0, *times, *owned, 0, 4096, 0)


def parse(message: bytes) -> Request:
    """A message of the kernel's: struct fuse_in_header and the operation's own."""
    _, operation, unique, node, user, group, thread, _ = HEADER_IN.unpack_from(message)
    return Request(operation, unique, node, user, group, thread, message[HEADER_IN.size :])


def answer(unique: int, body: bytes = b"", error: int = 0) -> bytes:
    """The reply to a request: struct fuse_out_header and the operation's own; `error` is an errno."""
    return HEADER_OUT.pack(HEADER_OUT.size + len(body), -error, unique) + body


def initialised(body: bytes) -> bytes:
    """The reply to INIT, by what the kernel offers."""
    _, minor, read_ahead, flags = INIT_IN.unpack_from(body)
    return INIT_OUT.pack(MAJOR, min(minor, MINOR), read_ahead, flags & PARALLEL_DIRECTORIES, 0, 0, MAX_WRITE, 1, 0, 0)


def entry(attributes: Attributes, entry_seconds: int, attribute_seconds: int) -> bytes:
    """A name was found or made: how long it stands, and how long its attributes do."""
    return ENTRY_OUT.pack(attributes.node, 0, entry_seconds, attribute_seconds, 0, 0) + attributes.packed()


def attributes_of(attributes: Attributes, seconds: int) -> bytes:
    """What stat(2) shows, and how long that stands."""
    return ATTRIBUTES_OUT.pack(seconds, 0, 0) + attributes.packed()


def directory(entries: Iterable[tuple[int, str, int]], offset: int, size: int) -> bytes:
    """Names in a directory, with their nodes and their file types as in st_mode, from a place on and up to a length."""
    found, length = [], 0
    for place, (node, name, mode) in enumerate(entries, 1):
        if place <= offset:
            continue
        encoded = name.encode(errors="surrogateescape")
        packed = DIRECTORY_ENTRY.pack(node, place, len(encoded), mode >> 12) + encoded
        packed += bytes(-len(packed) % DIRECTORY_ALIGNMENT)
        length += len(packed)
        if length > size:
            break
        found.append(packed)
    return b"".join(found)
