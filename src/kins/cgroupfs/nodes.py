"""What a path of the mount is: a directory of a group, one of its files, or something below the hidden directory."""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from kins.cgroupfs.control_groups import CONTROLLERS_V1, UNIFIED, ControlGroups
from kins.cgroupfs.files import Files
from kins.cgroupfs.files.declaration import ControlFile
from kins.cgroupfs.model import Group, Hierarchy, refusal
from kins.cgroupfs.views import HIDDEN, controllers, mount_table, process_groups, process_mounts


@dataclass(frozen=True)
class GroupDirectory:
    """The directory of a group, with the files that it has."""

    group: Group
    files: Files

    def names(self) -> list[str]:
        """What is listed."""
        return [*(name for name, file in self.files.items() if file.is_in(self.group)), *list(self.group.children)]


@dataclass(frozen=True)
class GroupFile:
    """A file of a group."""

    group: Group
    file: ControlFile


@dataclass(frozen=True)
class PlainDirectory:
    """A directory of no group: the mount's root in version 1, the hidden ones."""

    entries: tuple[str, ...]


@dataclass(frozen=True)
class View:
    """A file that can only be read. `text` is asked without the lock: making it may need another answer of ours."""

    text: Callable[[], str]


Node = GroupDirectory | GroupFile | PlainDirectory | View


class Paths:
    """Finds nodes. `device` is the mount's device number as /proc/PID/mountinfo writes it."""

    def __init__(self, groups: ControlGroups, files: dict[str, Files]) -> None:
        self._groups = groups
        self._files = files
        self.device = ""

    def find(self, path: str | None) -> Node:
        """The node at a path. Raises FileNotFoundError, NotADirectoryError; OSError (ENODEV) without one, which libfuse
        has for an open file whose group was removed: kernfs answers with that."""
        if path is None:
            raise refusal(errno.ENODEV)
        names = [name for name in path.split("/") if name]
        if names[:1] == [HIDDEN]:
            return self._hidden(names[1:])
        if self._groups.version == 2:
            return self._in_hierarchy(self._groups.hierarchies[UNIFIED], names)
        if not names:
            return PlainDirectory(CONTROLLERS_V1)
        if names[0] not in self._groups.hierarchies:
            raise refusal(errno.ENOENT, path)
        return self._in_hierarchy(self._groups.hierarchies[names[0]], names[1:])

    def group(self, path: str) -> Group:
        """The group whose directory a path is. Raises OSError: FileNotFoundError, or EPERM for other directories."""
        node = self.find(path)
        if not isinstance(node, GroupDirectory):
            raise refusal(errno.EPERM, path)
        return node.group

    def place(self, path: str) -> tuple[Hierarchy, str]:
        """The hierarchy and the path in it of a directory that may not exist yet. Raises OSError (EPERM)."""
        if self._groups.version == 2:
            return self._groups.hierarchies[UNIFIED], path
        name, _, rest = path.strip("/").partition("/")
        if name not in self._groups.hierarchies:
            raise refusal(errno.EPERM, path)
        return self._groups.hierarchies[name], f"/{rest}"

    def _in_hierarchy(self, hierarchy: Hierarchy, names: list[str]) -> Node:
        group, files = hierarchy.root, self._files[hierarchy.name]
        for index, name in enumerate(names):
            child = group.children.get(name)
            if child is not None:
                group = child
                continue
            file = files.get(name)
            if file is None or not file.is_in(group):
                raise refusal(errno.ENOENT, name)
            if index < len(names) - 1:
                raise refusal(errno.ENOTDIR, name)
            return GroupFile(group, file)
        return GroupDirectory(group, files)

    def _hidden(self, names: list[str]) -> Node:
        match names:
            case []:
                return PlainDirectory(("cgroups", "processes"))
            case ["cgroups"]:
                return View(self._controllers)
            case ["processes"]:
                return PlainDirectory(())
            case ["processes", pid] if pid.isdecimal():
                return PlainDirectory(("cgroup", "mountinfo", "mounts"))
            case ["processes", pid, "cgroup" | "mountinfo" | "mounts" as view] if pid.isdecimal():
                return View(partial(self._view, int(pid), view))
        raise refusal(errno.ENOENT)

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
