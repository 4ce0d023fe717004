"""Where memory limits come from: our own groups, or a tree of control groups that somebody else serves."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from kins.cgroupfs.control_groups import UNIFIED, ControlGroups
from kins.cgroupfs.enforcement import LimitedGroup
from kins.cgroupfs.model import Group
from kins.cgroupfs.processes import ProcessStat, StatReader, read_file

# The limit's file, and the one that says that all of a group is to be killed, in version 1 and 2.
LIMIT_FILES = ("memory.limit_in_bytes", "memory.max")
WHOLE_FILE = "memory.oom.group"
# Version 1 reads as a very large number where there is no limit.
UNLIMITED = 1 << 62
READ_BYTES = 1 << 16


class OwnLimits:
    """The limits of our own groups."""

    def __init__(self, groups: ControlGroups) -> None:
        self._groups = groups
        self._hierarchy = groups.hierarchies.get("memory") or groups.hierarchies[UNIFIED]
        # Only of processes that are limited, which are fewer than those whose figures are shown.
        self._reader = StatReader()
        self._stats: dict[int, ProcessStat] = {}

    def limited(self) -> list[LimitedGroup]:
        """See `Source`."""
        with self._groups.lock:
            self._groups.tracker.discover()
            found = list(self._below(self._hierarchy.root))
        self._stats = self._reader.read(set().union(*(group.pids for group in found)))
        return found

    def _below(self, group: Group) -> Iterator[LimitedGroup]:
        for child in group.children.values():
            yield from self._below(child)
        limit = next((group.settings[name] for name in LIMIT_FILES if name in group.settings), "max")
        if limit.isdecimal() and int(limit) < UNLIMITED and group.settings.get("memory.oom_control") != "1":
            whole = group.settings.get(WHOLE_FILE) == "1"
            yield LimitedGroup(group.path, int(limit), frozenset(group.all_members()), whole)

    def stats(self, group: LimitedGroup) -> list[ProcessStat]:
        """See `Source`."""
        return [self._stats[pid] for pid in group.pids if pid in self._stats]

    def group_of(self, group: LimitedGroup, pid: int) -> str:
        """See `Source`."""
        with self._groups.lock:
            process = self._groups.membership.processes.get(pid)
            return process.groups[self._hierarchy.name].path if process is not None else group.path

    def killed(self, group: LimitedGroup, pids: Sequence[int]) -> None:
        """See `Source`; those who listen (cgroup.event_control) are told here."""
        with self._groups.lock:
            limited = self._hierarchy.find(group.path)
            for counter in ("failcnt", "max", "oom"):
                limited.count(counter)
            for pid in pids:
                self._hierarchy.find(self.group_of(group, pid)).count("oom_kill")
            # All below it are told too (mm/memcontrol-v1.c, mem_cgroup_oom_notify).
            for each in limited.subtree():
                self._groups.notify(each)
            self._groups.fold()


class TreeLimits:
    """The limits of a mounted hierarchy: version 1's memory directory, or version 2's."""

    def __init__(self, tree: Path) -> None:
        self._tree = tree
        self._reader = StatReader()
        self._stats: dict[int, ProcessStat] = {}
        self._file = LIMIT_FILES[0] if (tree / LIMIT_FILES[0]).exists() else LIMIT_FILES[1]

    def limited(self) -> list[LimitedGroup]:
        """See `Source`."""
        self._stats = self._reader.read()
        found: list[LimitedGroup] = []
        members: dict[str, frozenset[int]] = {}
        for directory, names, _ in os.walk(self._tree, topdown=False):
            below = (members.get(os.path.join(directory, name), frozenset()) for name in names)
            members[directory] = frozenset(self._pids(Path(directory))).union(*below)
            limit = self._limit(Path(directory))
            if limit is not None:
                whole = read(Path(directory, WHOLE_FILE)) == "1"
                found.append(LimitedGroup(directory, limit, members[directory], whole))
        return found

    def _limit(self, directory: Path) -> int | None:
        text = read(directory / self._file)
        return int(text) if text.isdecimal() and int(text) < UNLIMITED else None

    def _pids(self, directory: Path) -> list[int]:
        return [int(pid) for pid in read(directory / "cgroup.procs").split()]

    def stats(self, group: LimitedGroup) -> Iterable[ProcessStat]:
        """See `Source`."""
        return [self._stats[pid] for pid in group.pids if pid in self._stats]

    def group_of(self, group: LimitedGroup, pid: int) -> str:
        """See `Source`."""
        for directory, _, _ in os.walk(group.path):
            if pid in self._pids(Path(directory)):
                return directory
        return group.path

    def killed(self, group: LimitedGroup, pids: Sequence[int]) -> None:
        """See `Source`: the files of others count for themselves."""


def read(path: Path) -> str:
    """A file's text without white space; empty where it cannot be read (any more)."""
    return read_file(str(path), READ_BYTES).decode().strip()
