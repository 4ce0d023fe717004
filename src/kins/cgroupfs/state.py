"""What a restarted server goes on with: groups, limits, membership, and what ended processes had used.

A file of JSON lines. A change is a line that is appended before the change is answered, so that a server that is killed
has lost nothing that somebody was told; `write` replaces the lines by those of the present state. A torn last line is
that of a change that nobody was told of.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec

from kins.cgroupfs.model import Group, Hierarchy, Membership, Ownership, Process, Usage
from kins.errors import KinsError
from kins.sys.process import boot, is_this_boot

FORMAT = 1


class StateFile:
    """The file, open for appending from `write` on."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None
        self.appended = 0

    def read(self) -> list[list[Any]]:
        """The records. Raises KinsError for a file of another format."""
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return []
        lines = content.split(b"\n")[:-1]
        try:
            records = [msgspec.json.decode(line, type=list[Any]) for line in lines]
        except msgspec.DecodeError as error:
            raise self._unreadable(str(error)) from error
        if records and records[0][:2] != ["format", FORMAT]:
            raise self._unreadable(f"its format is not {FORMAT}")
        return records[1:]

    def _unreadable(self, reason: str) -> KinsError:
        return KinsError(
            f"cannot read the state of control groups in {self._path}: {reason}",
            code="state-damaged",
            hint=f"mv {self._path} {self._path}.bad",
        )

    def write(self, records: list[list[Any]]) -> None:
        """Replace all records, at once."""
        temporary = self._path.with_name(f"{self._path.name}.new")
        temporary.write_bytes(msgspec.json.Encoder().encode_lines([["format", FORMAT], *records]))
        os.replace(temporary, self._path)
        self.close()
        self._descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        self.appended = 0

    def append(self, *record: Any) -> None:
        """Add a record."""
        if self._descriptor is not None:
            os.write(self._descriptor, msgspec.json.encode(record) + b"\n")
            self.appended += 1

    def close(self) -> None:
        """Stop appending."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def snapshot(hierarchies: dict[str, Hierarchy], membership: Membership, charged: dict[int, list[int]]) -> list[Any]:
    """The records of the present state; `charged` is by pid what groups were charged with already, in ticks."""
    records: list[Any] = [["boot", boot()]]
    for hierarchy in hierarchies.values():
        for group in hierarchy.root.subtree():
            records += _group_records(group)
    records += [move_record(process, charged.get(process.pid, [])) for process in membership.processes.values()]
    return records


def _group_records(group: Group) -> list[list[Any]]:
    place = [group.hierarchy.name, group.path]
    records: list[list[Any]] = [] if group.is_root else [["make", *place]]
    records += [["set", *place, name, value] for name, value in group.settings.items()]
    records += [["own", *place, name, owned.mode, owned.user, owned.group] for name, owned in group.ownership.items()]
    if group.usage != Usage() or group.peaks or group.counters:
        figures = [list(part.items()) for part in (group.usage.user, group.usage.system)]
        records.append(["used", *place, *figures, group.peaks, group.counters])
    return records


def move_record(process: Process, charged: list[int]) -> list[Any]:
    """Where a process is; root groups go without saying."""
    groups = {name: group.path for name, group in process.groups.items() if not group.is_root}
    return ["process", process.pid, process.started, process.parent, process.session, groups, charged]


class Restoring:
    """Applies records to empty hierarchies."""

    def __init__(self, hierarchies: dict[str, Hierarchy], membership: Membership) -> None:
        self._hierarchies = hierarchies
        self._membership = membership
        self.charged: dict[int, list[int]] = {}
        self._same_boot = True

    def apply(self, records: list[list[Any]]) -> None:
        """Apply records in their order; those of hierarchies that are not there are left out."""
        for kind, *rest in records:
            getattr(self, f"_{kind}")(*rest)

    def _group(self, hierarchy: str, path: str) -> Group | None:
        return self._hierarchies[hierarchy].find(path) if hierarchy in self._hierarchies else None

    def _boot(self, told: str) -> None:
        # Pids and start times of before a reboot name other processes now.
        self._same_boot = is_this_boot(told)

    def _make(self, hierarchy: str, path: str) -> None:
        if hierarchy in self._hierarchies:
            self._hierarchies[hierarchy].make(path)

    def _remove(self, hierarchy: str, path: str) -> None:
        group = self._group(hierarchy, path)
        if group is not None:
            for pid in list(group.members):
                self._membership.forget(pid)
            self._hierarchies[hierarchy].remove(group)

    def _rename(self, hierarchy: str, path: str, name: str) -> None:
        group = self._group(hierarchy, path)
        if group is not None:
            self._hierarchies[hierarchy].rename(group, name)

    def _set(self, hierarchy: str, path: str, name: str, value: str | None) -> None:
        group = self._group(hierarchy, path)
        if group is not None:
            if value is None:
                group.settings.pop(name, None)
            else:
                group.settings[name] = value

    def _own(self, hierarchy: str, path: str, name: str, mode: int, user: int, owner: int) -> None:
        group = self._group(hierarchy, path)
        if group is not None:
            group.ownership[name] = Ownership(mode, user, owner)

    def _used(self, hierarchy: str, path: str, user: Any, system: Any, peaks: Any, counters: Any) -> None:
        group = self._group(hierarchy, path)
        if group is not None:
            group.usage = Usage(dict(user), dict(system))
            group.peaks, group.counters = peaks, counters

    def _process(
        self, pid: int, started: int, parent: int, session: int, paths: dict[str, str], charged: list[int]
    ) -> None:
        if not self._same_boot:
            return
        if pid in self._membership.processes:
            self._membership.forget(pid)
        groups = {name: self._hierarchies[name].find(path) for name, path in paths.items() if name in self._hierarchies}
        self._membership.add(Process(pid, started, parent, session, groups))
        if charged:
            self.charged[pid] = charged
