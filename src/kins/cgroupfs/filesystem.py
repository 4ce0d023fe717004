"""The file system: what a kernel asks of a FUSE server (fuse(4)), answered from the control groups.

gVisor asks ACCESS before each open unless the mount has `default_permissions`, and FLUSH at each close, and hands
ENOSYS on to the caller: both are answered.
"""

from __future__ import annotations

import errno
import logging
import os
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count

from kins.cgroupfs import protocol
from kins.cgroupfs.control_groups import ControlGroups, Writer
from kins.cgroupfs.files import Files
from kins.cgroupfs.model import Group, Ownership, refusal
from kins.cgroupfs.nodes import Directory, GroupDirectory, GroupFile, Node, Nodes, View
from kins.cgroupfs.protocol import Attributes, Operation, Request
from kins.cgroupfs.tracking import SAMPLE_SECONDS

log = logging.getLogger(__name__)

NAME_MAX = 255
# Owners and modes change through this mount only, so the kernel knows of it. Names too, but gVisor does not forget
# those below a directory that is removed. A second is enough for who asks for many files in a row.
ENTRY_SECONDS = 1
ATTRIBUTE_SECONDS = 1_000_000


@dataclass
class Reading:
    """What an open file said when it was read from its beginning, kept for the rest of that reading."""

    content: bytes = b""
    made_at: float = float("-inf")


class ControlGroupFileSystem:
    """Answers several requests at a time. Contents and changes are guarded by the control groups' lock; finding what a
    number is needs none, and that is most of what is asked: each step of Python's dictionaries is whole by itself.
    """

    def __init__(self, groups: ControlGroups, files: dict[str, Files], began: Callable[[], None]) -> None:
        self.groups = groups
        self.nodes = Nodes(groups, files)
        self._began = began
        self._time = time.time_ns()
        self._readings: dict[int, Reading] = {}
        self._listings: dict[int, list[tuple[int, str, int]]] = {}
        self._handles = count(1)
        self._answers: dict[int, Callable[[Request], bytes]] = {
            Operation.INIT: self._init,
            Operation.LOOKUP: self._lookup,
            Operation.GETATTR: self._getattr,
            Operation.SETATTR: self._setattr,
            Operation.ACCESS: self._nothing,
            Operation.STATFS: self._statfs,
            Operation.OPENDIR: self._opendir,
            Operation.READDIR: self._readdir,
            Operation.RELEASEDIR: self._releasedir,
            Operation.FSYNCDIR: self._nothing,
            Operation.MKDIR: self._mkdir,
            Operation.RMDIR: self._rmdir,
            Operation.RENAME: self._rename,
            Operation.RENAME2: self._rename2,
            Operation.OPEN: self._open,
            Operation.READ: self._read,
            Operation.WRITE: self._write,
            Operation.FLUSH: self._nothing,
            Operation.FSYNC: self._nothing,
            Operation.RELEASE: self._release,
            Operation.LISTXATTR: self._listxattr,
            Operation.DESTROY: self._nothing,
            # Nobody can make files here, and files stay as long as their group. There are no extended attributes;
            # ENOSYS would do on Linux, but `ls -l` of gVisor fails with it.
            Operation.CREATE: refuse(errno.EACCES),
            Operation.MKNOD: refuse(errno.EPERM),
            Operation.UNLINK: refuse(errno.EPERM),
            Operation.SYMLINK: refuse(errno.EPERM),
            Operation.LINK: refuse(errno.EPERM),
            Operation.GETXATTR: refuse(errno.EOPNOTSUPP),
            Operation.SETXATTR: refuse(errno.EOPNOTSUPP),
            Operation.REMOVEXATTR: refuse(errno.EOPNOTSUPP),
        }

    def answer(self, request: Request) -> bytes | None:
        """The reply to a request; None where there is none. What is not known is ENOSYS, which also tells Linux that
        nothing here can be interrupted."""
        if request.operation in (Operation.FORGET, Operation.BATCH_FORGET):
            return None
        try:
            found = self._answers.get(request.operation)
            if found is None:
                raise refusal(errno.ENOSYS)
            return protocol.answer(request.unique, found(request))
        except OSError as error:
            return protocol.answer(request.unique, error=error.errno or errno.EIO)
        except Exception:
            log.exception("cannot answer operation %d", request.operation)
            return protocol.answer(request.unique, error=errno.EIO)

    def _init(self, request: Request) -> bytes:
        self._began()
        return protocol.initialised(request.body)

    def _nothing(self, request: Request) -> bytes:
        """access(2) is asked as root, with `default_permissions` nobody else's; a change is on disk before it is
        answered, so there is nothing to flush or to synchronise."""
        return b""

    # What there is

    def _lookup(self, request: Request) -> bytes:
        (name,) = request.names()
        return self._entry(self.nodes.child(self.nodes.numbered(request.node), name))

    def _getattr(self, request: Request) -> bytes:
        flags, _, handle = protocol.GETATTR_IN.unpack_from(request.body)
        attributes = self._attributes(self.nodes.numbered(request.node), handle if flags & protocol.BY_HANDLE else None)
        return protocol.attributes_of(attributes, ATTRIBUTE_SECONDS)

    def _setattr(self, request: Request) -> bytes:
        """chmod(2) and chown(2) are kept, as the kernel does: how control groups are delegated. Sizes and times are
        accepted without effect: `>` of a shell asks for a size of 0."""
        what, mode, _, user, group, _ = protocol.SETATTR_IN.unpack_from(request.body)
        with self.groups.lock:
            node = self.nodes.numbered(request.node)
            owned = self._ownership(node)
            changed = Ownership(
                stat.S_IMODE(mode) if what & protocol.SET_MODE else owned.mode,
                user if what & protocol.SET_USER else owned.user,
                group if what & protocol.SET_GROUP else owned.group,
            )
            if changed != owned:
                self._own(node, changed)
        return protocol.attributes_of(self._attributes(node), ATTRIBUTE_SECONDS)

    def _statfs(self, request: Request) -> bytes:
        """No blocks, as of the kernel's own; the type is FUSE's, whatever is said here."""
        return protocol.STATFS_OUT.pack(0, 0, 0, 0, 0, 4096, NAME_MAX, 4096, 0)

    def _opendir(self, request: Request) -> bytes:
        node = self.nodes.numbered(request.node)
        if not isinstance(node, Directory):
            raise refusal(errno.ENOTDIR)
        handle = next(self._handles)
        # The parent's number is of no use to anybody; that of the directory itself will do.
        listing = [(node.number, ".", stat.S_IFDIR), (node.number, "..", stat.S_IFDIR)]
        for name in node.names():
            try:
                child = self.nodes.child(node, name)
            except FileNotFoundError:  # it went just now
                continue
            listing.append((child.number, name, kind(child)))
        self._listings[handle] = listing
        return protocol.OPEN_OUT.pack(handle, 0, 0)

    def _readdir(self, request: Request) -> bytes:
        handle, offset, size = protocol.TRANSFER_IN.unpack_from(request.body)
        return protocol.directory(self._listings[handle], offset, size)

    def _releasedir(self, request: Request) -> bytes:
        (handle,) = protocol.HANDLE_IN.unpack_from(request.body)
        self._listings.pop(handle, None)
        return b""

    def _listxattr(self, request: Request) -> bytes:
        (size, _) = protocol.GETXATTR_IN.unpack_from(request.body)
        return b"" if size else protocol.GETXATTR_IN.pack(0, 0)

    # Groups

    def _mkdir(self, request: Request) -> bytes:
        mode, _ = protocol.MKDIR_IN.unpack_from(request.body)
        (name,) = request.names(protocol.MKDIR_IN.size)
        with self.groups.lock:
            hierarchy, path = self.nodes.place(self.nodes.numbered(request.node), name)
            group = self.groups.make(hierarchy, path, stat.S_IMODE(mode), request.user, request.group)
        return self._entry(self.nodes.directory(group))

    def _rmdir(self, request: Request) -> bytes:
        (name,) = request.names()
        with self.groups.lock:
            self.groups.remove(self._group(request.node, name))
        return b""

    def _rename(self, request: Request) -> bytes:
        (target,) = protocol.RENAME_IN.unpack_from(request.body)
        return self._renamed(request, target, protocol.RENAME_IN.size)

    def _rename2(self, request: Request) -> bytes:
        target, flags, _ = protocol.RENAME2_IN.unpack_from(request.body)
        if flags:
            raise refusal(errno.EINVAL)
        return self._renamed(request, target, protocol.RENAME2_IN.size)

    def _renamed(self, request: Request, target: int, after: int) -> bytes:
        """Another name in the same directory, in version 1."""
        old, new = request.names(after)
        with self.groups.lock:
            if self.groups.version == 2:
                raise refusal(errno.EPERM, old)
            if target != request.node:
                raise refusal(errno.EIO, old)
            self.groups.rename(self._group(request.node, old), new)
        return b""

    def _group(self, directory: int, name: str) -> Group:
        """The group whose directory has a name. Raises OSError: FileNotFoundError, or EPERM for other directories."""
        node = self.nodes.child(self.nodes.numbered(directory), name)
        if not isinstance(node, GroupDirectory):
            raise refusal(errno.EPERM, name)
        return node.group

    # Files

    def _open(self, request: Request) -> bytes:
        """Also root cannot read what only takes, nor write what only tells (KERNFS_ROOT_EXTRA_OPEN_PERM_CHECK)."""
        flags, _ = protocol.OPEN_IN.unpack_from(request.body)
        reads, writes = readable_and_writable(self.nodes.numbered(request.node))
        access = flags & os.O_ACCMODE
        if (access != os.O_WRONLY and not reads) or (access != os.O_RDONLY and not writes):
            raise refusal(errno.EACCES)
        handle = next(self._handles)
        if access != os.O_WRONLY:
            self._readings[handle] = Reading()
        return protocol.OPEN_OUT.pack(handle, protocol.DIRECT_IO, 0)

    def _read(self, request: Request) -> bytes:
        """What the file says, or the rest of it."""
        handle, offset, size = protocol.TRANSFER_IN.unpack_from(request.body)
        reading = self._readings[handle]
        if not offset:
            self._refresh(reading, self.nodes.numbered(request.node))
        return reading.content[offset : offset + size]

    def _write(self, request: Request) -> bytes:
        """Each write(2) is one request, wherever in the file it is."""
        _, _, size = protocol.TRANSFER_IN.unpack_from(request.body)
        text = request.body[protocol.TRANSFER_IN.size :][:size].decode(errors="replace").strip(" \t\n\0")
        with self.groups.lock:
            node = self.nodes.numbered(request.node)
            if not isinstance(node, GroupFile) or node.file.write is None:
                raise refusal(errno.EACCES)
            # Whoever was forked before this belongs to where its parent was before this.
            self.groups.tracker.discover()
            node.file.write(self.groups, node.group, text, Writer(request.thread))
            # A copy: other requests open and close files meanwhile.
            for reading in list(self._readings.values()):
                reading.made_at = float("-inf")
        return protocol.WRITE_OUT.pack(size, 0)

    def _release(self, request: Request) -> bytes:
        (handle,) = protocol.HANDLE_IN.unpack_from(request.body)
        self._readings.pop(handle, None)
        return b""

    def _refresh(self, reading: Reading, node: Node) -> None:
        if time.monotonic() - reading.made_at > SAMPLE_SECONDS:
            reading.content = self._content(node).encode()
            reading.made_at = time.monotonic()

    def _content(self, node: Node) -> str:
        if isinstance(node, View):
            return node.text()
        if isinstance(node, GroupFile) and node.file.read is not None:
            with self.groups.lock:
                return node.file.read(self.groups, node.group)
        raise refusal(errno.EISDIR if isinstance(node, Directory) else errno.EACCES)

    # What stat(2) shows

    def _entry(self, node: Node) -> bytes:
        return protocol.entry(self._attributes(node), ENTRY_SECONDS, ATTRIBUTE_SECONDS)

    def _attributes(self, node: Node, handle: int | None = None) -> Attributes:
        """Sizes are 0, as those of the kernel's own files, except those of files that are open: gVisor asks for them
        before it reads, whatever `direct_io` says, and reads no further."""
        size = 0
        if handle in self._readings:
            reading = self._readings[handle]
            self._refresh(reading, node)
            size = len(reading.content)
        owned = self._ownership(node)
        links = 2 + len(node.group.children) if isinstance(node, GroupDirectory) else 1
        return Attributes(node.number, kind(node) | owned.mode, owned.user, owned.group, links, size, self._time)

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


def refuse(number: int) -> Callable[[Request], bytes]:
    """An answer that is always the same error."""

    def answer(request: Request) -> bytes:
        raise refusal(number)

    return answer


def kind(node: Node) -> int:
    """The file type bits of a node."""
    return stat.S_IFDIR if isinstance(node, Directory) else stat.S_IFREG


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
