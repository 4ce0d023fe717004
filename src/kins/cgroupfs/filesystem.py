"""The file system: what libfuse asks, answered from the control groups (fuse(4); mfusepy's Operations).

gVisor asks ACCESS before each open unless the mount has `default_permissions`, and FLUSH at each close, and hands
ENOSYS on to the caller: both are answered.
"""

from __future__ import annotations

import ctypes
import errno
import logging
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any

import mfusepy

from kins.cgroupfs.control_groups import ControlGroups, Writer
from kins.cgroupfs.files import Files
from kins.cgroupfs.model import Group, Ownership, refusal
from kins.cgroupfs.nodes import GroupDirectory, GroupFile, Node, Paths, PlainDirectory, View
from kins.cgroupfs.tracking import SAMPLE_SECONDS

log = logging.getLogger(__name__)

NAME_MAX = 255


class KeptThreads(threading.local):
    """Lets libfuse's threads keep what Python knows of them.

    Python makes the state of a foreign thread for each call and removes it after that, a map and an unmap of memory: in
    gVisor six times the price of all the rest of a call. Holding the state once more (PyGILState_Ensure) keeps it.
    """

    kept = False

    def keep(self) -> None:
        """Keep the state of this thread; called in each of the calls that come most often."""
        if not self.kept:
            self.kept = True
            ctypes.pythonapi.PyGILState_Ensure()


@dataclass
class Reading:
    """What an open file said when it was read from its beginning, kept for the rest of that reading."""

    content: bytes = b""
    made_at: float = float("-inf")


class ControlGroupFileSystem(mfusepy.Operations):  # type: ignore[misc]  # mfusepy has no types
    """Answers several requests at a time. Contents and changes are guarded by the control groups' lock; finding what a
    path is needs none, and that is most of what is asked: each step of Python's dictionaries is whole by itself.

    Errors are OSErrors, which mfusepy turns into the request's answer.
    """

    use_ns = True

    def __init__(
        self, groups: ControlGroups, files: dict[str, Files], mounted: Callable[[ControlGroupFileSystem], None]
    ) -> None:
        self.groups = groups
        self.paths = Paths(groups, files)
        self._mounted = mounted
        self._began = time.time_ns()
        self._readings: dict[int, Reading] = {}
        self._handles = count(1)
        self._threads = KeptThreads()

    def init(self, path: str) -> None:
        """The kernel has begun to ask."""
        self._mounted(self)

    # What there is

    def getattr(self, path: str, fh: int | None = None) -> dict[str, int]:
        """stat(2). Sizes are 0, as those of the kernel's own files, except those of files that are open: gVisor, which
        has no `direct_io`, asks for them before it reads, and reads no further."""
        self._threads.keep()
        node = self.paths.find(path)
        owned = self._ownership(node)
        links = 2 + len(node.group.children) if isinstance(node, GroupDirectory) else 1
        size = len(self._reading(node, fh).content) if fh is not None and fh in self._readings else 0
        times = dict.fromkeys(("st_atime", "st_mtime", "st_ctime"), self._began)
        return {
            "st_mode": kind(node) | owned.mode,
            "st_uid": owned.user,
            "st_gid": owned.group,
            "st_nlink": links,
            "st_size": size,
            **times,
        }

    def access(self, path: str, amode: int) -> int:
        """access(2) as root; with `default_permissions` the kernel asks for nobody else."""
        self.paths.find(path)
        return 0

    def statfs(self, path: str) -> dict[str, int]:
        """statfs(2): no blocks, as of the kernel's own; the type is FUSE's, whatever is said here."""
        return {"f_bsize": 4096, "f_frsize": 4096, "f_namemax": NAME_MAX}

    def readdir(self, path: str, fh: int) -> Iterator[str]:
        """The names in a directory."""
        node = self.paths.find(path)
        if isinstance(node, GroupDirectory):
            names = node.names()
        elif isinstance(node, PlainDirectory):
            names = list(node.entries)
        else:
            raise refusal(errno.ENOTDIR, path)
        return iter([".", "..", *names])

    def chmod(self, path: str, mode: int) -> int:
        """Kept, as the kernel does."""
        with self.groups.lock:
            node = self.paths.find(path)
            owned = self._ownership(node)
            self._own(node, Ownership(stat.S_IMODE(mode), owned.user, owned.group))
        return 0

    def chown(self, path: str, uid: int, gid: int) -> int:
        """Kept, as the kernel does: how control groups are delegated. Ids of all ones stay as they are."""
        with self.groups.lock:
            node = self.paths.find(path)
            owned = self._ownership(node)
            user = owned.user if uid in (-1, 2**32 - 1) else uid
            group = owned.group if gid in (-1, 2**32 - 1) else gid
            self._own(node, Ownership(owned.mode, user, group))
        return 0

    def utimens(self, path: str, times: tuple[int, int] | None = None) -> int:
        """Accepted, without effect."""
        return 0

    # Groups

    def mkdir(self, path: str, mode: int) -> int:
        """A new group."""
        user, owner, _ = mfusepy.fuse_get_context()
        with self.groups.lock:
            hierarchy, place = self.paths.place(path)
            self.groups.make(hierarchy, place, stat.S_IMODE(mode), user, owner)
        return 0

    def rmdir(self, path: str) -> int:
        """Remove a group that nobody is in."""
        with self.groups.lock:
            self.groups.remove(self.paths.group(path))
        return 0

    def rename(self, old: str, new: str) -> int:
        """Another name in the same directory, in version 1."""
        with self.groups.lock:
            if self.groups.version == 2 or os.path.dirname(old) != os.path.dirname(new):
                raise refusal(errno.EPERM if self.groups.version == 2 else errno.EIO, old)
            self.groups.rename(self.paths.group(old), os.path.basename(new))
        return 0

    # Files

    def create(self, path: str, mode: int, fi: Any = None) -> int:
        """Nobody can make files here; the kernel's answer is not the same as for directories and links."""
        raise refusal(errno.EACCES, path)

    def mknod(self, path: str, mode: int, dev: int) -> int:
        """See `create`; libfuse asks for this one first where a file is opened to be created."""
        raise refusal(errno.EACCES if stat.S_ISREG(mode) else errno.EPERM, path)

    def unlink(self, path: str) -> int:
        """Files stay as long as their group."""
        raise refusal(errno.EPERM, path)

    def symlink(self, target: str, source: str) -> int:
        """There are no links."""
        raise refusal(errno.EPERM, target)

    def link(self, target: str, source: str) -> int:
        """There are no links."""
        raise refusal(errno.EPERM, target)

    def open(self, path: str, flags: int) -> int:
        """Also root cannot read what only takes, nor write what only tells (KERNFS_ROOT_EXTRA_OPEN_PERM_CHECK)."""
        reads, writes = readable_and_writable(self.paths.find(path))
        access = flags & os.O_ACCMODE
        if (access != os.O_WRONLY and not reads) or (access != os.O_RDONLY and not writes):
            raise refusal(errno.EACCES, path)
        handle = next(self._handles)
        if access != os.O_WRONLY:
            self._readings[handle] = Reading()
        return handle

    def truncate(self, path: str, length: int, fh: int | None = None) -> int:
        """Accepted, without effect: `>` of a shell asks for it."""
        self.paths.find(path)
        return 0

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        """What the file says, or the rest of it."""
        reading = self._readings[fh] if offset else self._reading(self.paths.find(path), fh)
        return reading.content[offset : offset + size]

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
        """Each write(2) is one request, wherever in the file it is."""
        _, _, thread = mfusepy.fuse_get_context()
        with self.groups.lock:
            node = self.paths.find(path)
            if not isinstance(node, GroupFile) or node.file.write is None:
                raise refusal(errno.EACCES, path)
            # Whoever was forked before this belongs to where its parent was before this.
            self.groups.tracker.discover()
            node.file.write(self.groups, node.group, data.decode(errors="replace").strip(" \t\n\0"), Writer(thread))
            # A copy: other requests open and close files meanwhile.
            for reading in list(self._readings.values()):
                reading.made_at = float("-inf")
        return len(data)

    def flush(self, path: str, fh: int) -> int:
        """close(2) of one of the descriptors."""
        return 0

    def fsync(self, path: str, datasync: int, fh: int) -> int:
        """A change is on disk before it is answered."""
        return 0

    def release(self, path: str, fh: int) -> int:
        """close(2) of the last descriptor."""
        self._readings.pop(fh, None)
        return 0

    # There are no extended attributes; without an answer `ls -l` of gVisor fails.

    def getxattr(self, path: str, name: str, position: int = 0) -> bytes:
        """getxattr(2)."""
        raise refusal(errno.EOPNOTSUPP, path)

    def listxattr(self, path: str) -> list[str]:
        """listxattr(2)."""
        return []

    def _reading(self, node: Node, handle: int) -> Reading:
        reading = self._readings[handle]
        if time.monotonic() - reading.made_at > SAMPLE_SECONDS:
            reading.content = self._content(node).encode()
            reading.made_at = time.monotonic()
        return reading

    def _content(self, node: Node) -> str:
        if isinstance(node, View):
            return node.text()
        if isinstance(node, GroupFile) and node.file.read is not None:
            with self.groups.lock:
                return node.file.read(self.groups, node.group)
        raise refusal(errno.EISDIR if isinstance(node, GroupDirectory | PlainDirectory) else errno.EACCES)

    def _ownership(self, node: Node) -> Ownership:
        changed = owned_part(node)
        if changed is not None and changed[1] in changed[0].ownership:
            return changed[0].ownership[changed[1]]
        if isinstance(node, GroupFile):
            return Ownership(node.file.mode, 0, 0)
        return Ownership(0o444 if isinstance(node, View) else 0o755, 0, 0)

    def _own(self, node: Node, ownership: Ownership) -> None:
        changed = owned_part(node)
        if changed is None:
            raise refusal(errno.EPERM)
        self.groups.own(*changed, ownership)


def kind(node: Node) -> int:
    """The file type bits of a node."""
    return stat.S_IFDIR if isinstance(node, GroupDirectory | PlainDirectory) else stat.S_IFREG


def owned_part(node: Node) -> tuple[Group, str] | None:
    """The group and the name under which it keeps a node's owner; the directory's own name is empty."""
    if isinstance(node, GroupDirectory):
        return node.group, ""
    return (node.group, node.file.name) if isinstance(node, GroupFile) else None


def readable_and_writable(node: Node) -> tuple[bool, bool]:
    """What can be done with a file."""
    if isinstance(node, GroupFile):
        return node.file.read is not None, node.file.write is not None
    return isinstance(node, View), False
