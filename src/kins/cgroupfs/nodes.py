"""What there is in the mount: a directory of a group, one of its files, or something below the hidden directory.

Each has a number, by which the kernel asks for it. Numbers follow from what they name, and nothing has to be kept for
them: gVisor never tells a FUSE server that it has forgotten a node (FUSE_FORGET), so a table of nodes would only grow.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from functools import partial
from weakref import WeakValueDictionary

from kins.cgroupfs import protocol
from kins.cgroupfs.control_groups import CONTROLLERS_V1, UNIFIED, ControlGroups
from kins.cgroupfs.files import Files
from kins.cgroupfs.files.declaration import ControlFile
from kins.cgroupfs.model import Group, Hierarchy, refusal
from kins.cgroupfs.views import HIDDEN, controllers, mount_table, process_groups, process_mounts

VIEWS = ("cgroup", "mountinfo", "mounts")
# A process's directory is this and its pid, above bits for the number of a view from 1.
PROCESS = 1 << 62
VIEW_BITS = 2
# A group's directory is the group's number, above bits for the number of a file from 1. No group has number 0.
FILE_BITS = 10


class Fixed(IntEnum):
    """Numbers of what is always there: the mount's root, the hidden directory and what is in it."""

    ROOT = protocol.ROOT
    HIDDEN = 2
    CONTROLLERS = 3
    PROCESSES = 4


@dataclass(frozen=True)
class GroupDirectory:
    """The directory of a group, with the files that it has."""

    number: int
    group: Group
    files: Files

    def names(self) -> list[str]:
        """What is listed."""
        return [*(name for name, file in self.files.items() if file.is_in(self.group)), *list(self.group.children)]


@dataclass(frozen=True)
class GroupFile:
    """A file of a group."""

    number: int
    group: Group
    file: ControlFile


@dataclass(frozen=True)
class PlainDirectory:
    """A directory of no group: the mount's root in version 1, the hidden ones."""

    number: int
    entries: tuple[str, ...]

    def names(self) -> list[str]:
        """What is listed."""
        return list(self.entries)


@dataclass(frozen=True)
class View:
    """A file that can only be read. `text` is asked without the lock: making it may need another answer of ours."""

    number: int
    text: Callable[[], str]


Directory = GroupDirectory | PlainDirectory
Node = Directory | GroupFile | View


class Nodes:
    """Finds nodes. `device` is the mount's device number as /proc/PID/mountinfo writes it."""

    def __init__(self, groups: ControlGroups, files: dict[str, Files]) -> None:
        self._groups = groups
        self._files = files
        self._numbers = {name: {file: index for index, file in enumerate(of, 1)} for name, of in files.items()}
        self._names = {name: list(of) for name, of in files.items()}
        self._known: WeakValueDictionary[int, Group] = WeakValueDictionary()
        self.device = ""

    @property
    def root(self) -> Directory:
        """The mount's root."""
        if self._groups.version == 2:
            return self.directory(self._groups.hierarchies[UNIFIED].root)
        return PlainDirectory(Fixed.ROOT, CONTROLLERS_V1)

    def numbered(self, number: int) -> Node:
        """The node with a number. Raises OSError: ENODEV, as kernfs has it, for one of a group that was removed."""
        if number & PROCESS:
            process, view = divmod(number ^ PROCESS, 1 << VIEW_BITS)
            return self._process(process, view)
        match number:
            case Fixed.ROOT:
                return self.root
            case Fixed.HIDDEN:
                return PlainDirectory(number, ("cgroups", "processes"))
            case Fixed.CONTROLLERS:
                return View(number, self._controllers)
            case Fixed.PROCESSES:
                return PlainDirectory(number, ())
        return self._of_group(*divmod(number, 1 << FILE_BITS))

    def child(self, directory: Node, name: str) -> Node:
        """What has a name in a directory. Raises FileNotFoundError, NotADirectoryError."""
        match directory:
            case GroupDirectory(number=Fixed.ROOT) | PlainDirectory(number=Fixed.ROOT) if name == HIDDEN:
                return self.numbered(Fixed.HIDDEN)
            case GroupDirectory():
                return self._in_group(directory.group, name)
            case PlainDirectory(number=Fixed.ROOT) if name in self._groups.hierarchies:
                return self.directory(self._groups.hierarchies[name].root)
            case PlainDirectory(number=Fixed.HIDDEN) if name in directory.entries:
                return self.numbered(Fixed.CONTROLLERS if name == "cgroups" else Fixed.PROCESSES)
            case PlainDirectory(number=Fixed.PROCESSES) if name.isdecimal():
                return self._process(int(name), 0)
            case PlainDirectory(number=number) if number & PROCESS and name in VIEWS:
                return self.numbered(number | 1 + VIEWS.index(name))
            case PlainDirectory():
                raise refusal(errno.ENOENT, name)
        raise refusal(errno.ENOTDIR, name)

    def find(self, path: str) -> Node:
        """The node at a path of the mount. Raises FileNotFoundError, NotADirectoryError."""
        node: Node = self.root
        for name in filter(None, path.split("/")):
            node = self.child(node, name)
        return node

    def directory(self, group: Group) -> GroupDirectory:
        """The directory of a group."""
        self._known[group.number] = group
        is_root = self._groups.version == 2 and group.is_root
        number = Fixed.ROOT if is_root else group.number << FILE_BITS
        return GroupDirectory(number, group, self._files[group.hierarchy.name])

    def place(self, directory: Node, name: str) -> tuple[Hierarchy, str]:
        """The hierarchy, and the path in it, of a group that does not exist yet. Raises OSError (EPERM)."""
        if not isinstance(directory, GroupDirectory):
            raise refusal(errno.EPERM, name)
        return directory.group.hierarchy, f"{directory.group.path.rstrip('/')}/{name}"

    def _in_group(self, group: Group, name: str) -> Node:
        child = group.children.get(name)
        if child is not None:
            return self.directory(child)
        file = self._files[group.hierarchy.name].get(name)
        if file is None or not file.is_in(group):
            raise refusal(errno.ENOENT, name)
        self._known[group.number] = group
        return GroupFile(group.number << FILE_BITS | self._numbers[group.hierarchy.name][name], group, file)

    def _of_group(self, group_number: int, index: int) -> GroupDirectory | GroupFile:
        group = self._known.get(group_number)
        if group is None or not group.is_there:
            raise refusal(errno.ENODEV)
        if index == 0:
            return self.directory(group)
        name = self._names[group.hierarchy.name][index - 1]
        return GroupFile(group_number << FILE_BITS | index, group, self._files[group.hierarchy.name][name])

    def _process(self, pid: int, view: int) -> Node:
        number = PROCESS | pid << VIEW_BITS
        if view == 0:
            return PlainDirectory(number, VIEWS)
        return View(number | view, partial(self._view, pid, VIEWS[view - 1]))

    def _controllers(self) -> str:
        with self._groups.lock:
            return controllers(self._groups)

    def _view(self, pid: int, view: str) -> str:
        if view == "cgroup":
            with self._groups.lock:
                text = process_groups(self._groups, pid)
        else:
            # Not under the lock: to make its mountinfo gVisor asks us for the attributes of our own root.
            text = process_mounts(self._groups.version, pid, self.device)
            if text is not None and view == "mounts":
                text = mount_table(text)
        if text is None:
            raise refusal(errno.ENOENT)
        return text
