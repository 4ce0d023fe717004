"""Hierarchies, groups and which process is where; without files, figures or a clock, so that it can be tested alone.

The rules are those of the kernel's Documentation/admin-guide/cgroup-v1/cgroups.rst and cgroup-v2.rst.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count

# Each group has a number of its own, which no other ever has.
NUMBERS = count(1)


def refusal(number: int, message: str = "") -> OSError:
    """An error as the kernel gives it, with a reason for the log."""
    return OSError(number, message or os.strerror(number))


@dataclass
class Usage:
    """What a group has used, in nanoseconds by processor; that of processes that have ended stays in it."""

    user: dict[int, int] = field(default_factory=dict)
    system: dict[int, int] = field(default_factory=dict)

    def charge(self, processor: int, user: int, system: int) -> None:
        """Add work of a processor."""
        if user:
            self.user[processor] = self.user.get(processor, 0) + user
        if system:
            self.system[processor] = self.system.get(processor, 0) + system

    def add(self, other: Usage) -> None:
        """Add all of another one."""
        for processor, time in other.user.items():
            self.charge(processor, time, 0)
        for processor, time in other.system.items():
            self.charge(processor, 0, time)


@dataclass
class Ownership:
    """Mode and owner of a directory or file where they were changed."""

    mode: int
    user: int
    group: int


class Group:
    """A control group of one hierarchy.

    `settings` holds what was written into its files and differs from the default, by the file's name.
    """

    def __init__(self, name: str, parent: Group | None, hierarchy: Hierarchy) -> None:
        self.number = next(NUMBERS)
        self.name = name
        self.parent = parent
        self.hierarchy = hierarchy
        self.children: dict[str, Group] = {}
        self.members: set[int] = set()
        self.settings: dict[str, str] = {}
        self.usage = Usage()
        self.peaks: dict[str, int] = {}
        self.counters: dict[str, int] = {}
        self.ownership: dict[str, Ownership] = {}

    @property
    def path(self) -> str:
        """From the root of the hierarchy: `/`, `/kubepods/besteffort`."""
        if self.parent is None:
            return "/"
        return f"{self.parent.path.rstrip('/')}/{self.name}"

    @property
    def is_root(self) -> bool:
        """Whether it is the hierarchy's root."""
        return self.parent is None

    @property
    def is_there(self) -> bool:
        """Whether it was not removed."""
        return self.parent is None or self.parent.children.get(self.name) is self

    def subtree(self) -> Iterator[Group]:
        """The group and all below it."""
        yield self
        for child in self.children.values():
            yield from child.subtree()

    def ancestors(self) -> Iterator[Group]:
        """The group and all above it, from it to the root."""
        group: Group | None = self
        while group is not None:
            yield group
            group = group.parent

    def all_members(self) -> set[int]:
        """The processes of the group and of all below it."""
        return {pid for group in self.subtree() for pid in group.members}

    def count(self, counter: str, by: int = 1) -> None:
        """Add to a counter, e.g. of kills."""
        self.counters[counter] = self.counters.get(counter, 0) + by

    def remember_peak(self, name: str, value: int) -> None:
        """Keep the largest value."""
        if value > self.peaks.get(name, 0):
            self.peaks[name] = value


class Hierarchy:
    """A tree of groups. `name` is the directory's (a controller in version 1; empty for version 2's only one)."""

    def __init__(self, name: str, controllers: tuple[str, ...]) -> None:
        self.name = name
        self.controllers = controllers
        self.root = Group("", None, self)

    def find(self, path: str) -> Group:
        """The group at a path. Raises FileNotFoundError."""
        group = self.root
        for name in filter(None, path.split("/")):
            try:
                group = group.children[name]
            except KeyError:
                raise refusal(errno.ENOENT, path) from None
        return group

    def make(self, path: str) -> Group:
        """A new group; its parent exists. Raises FileNotFoundError, FileExistsError, OSError (EINVAL)."""
        parent_path, _, name = path.rpartition("/")
        parent = self.find(parent_path)
        if name in parent.children:
            raise refusal(errno.EEXIST, path)
        # "Do not accept '\n' to prevent making /proc/<pid>/cgroup unparsable" (kernel/cgroup/cgroup.c, cgroup_mkdir).
        if "\n" in name:
            raise refusal(errno.EINVAL, path)
        child = Group(name, parent, self)
        parent.children[name] = child
        return child

    def remove(self, group: Group) -> None:
        """Remove a group; what it had used stays with its parent. Raises OSError (EBUSY)."""
        if group.parent is None or group.children or group.members:
            raise refusal(errno.EBUSY, group.path)
        group.parent.usage.add(group.usage)
        del group.parent.children[group.name]

    def rename(self, group: Group, name: str) -> None:
        """Another name under the same parent. Raises FileExistsError, OSError."""
        if group.parent is None:
            raise refusal(errno.EBUSY, group.path)
        if name in group.parent.children:
            raise refusal(errno.EEXIST, name)
        del group.parent.children[group.name]
        group.name = name
        group.parent.children[name] = group


@dataclass
class Process:
    """A process that was seen, named for good by its pid and start time; `groups` is by the hierarchy's name.

    `moved` holds the groups of children of this process that somebody put into other groups, by their image.
    """

    pid: int
    started: int
    parent: int
    session: int
    groups: dict[str, Group]
    moved: dict[bytes, dict[str, Group]] = field(default_factory=dict)


class Membership:
    """Which process is in which groups. Every process is in one group of each hierarchy."""

    def __init__(self, hierarchies: dict[str, Hierarchy]) -> None:
        self.hierarchies = hierarchies
        self.processes: dict[int, Process] = {}

    def add(self, process: Process) -> None:
        """A process is in these groups from now on; hierarchies that are not named mean their root."""
        for name, hierarchy in self.hierarchies.items():
            process.groups.setdefault(name, hierarchy.root)
        self.processes[process.pid] = process
        for group in process.groups.values():
            group.members.add(process.pid)

    def forget(self, pid: int) -> Process:
        """A process has ended."""
        process = self.processes.pop(pid)
        for group in process.groups.values():
            group.members.discard(pid)
        return process

    def move(self, process: Process, group: Group) -> Group:
        """Put a process into another group of a hierarchy; returns the one that it was in."""
        name = group.hierarchy.name
        before = process.groups[name]
        before.members.discard(process.pid)
        process.groups[name] = group
        group.members.add(process.pid)
        return before
