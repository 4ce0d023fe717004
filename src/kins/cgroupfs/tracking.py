"""Keeps membership and usage in step with /proc.

Nobody tells a file system of a fork or an exit, so both are found by looking: at every use, but not more often than a
sample may be old, and from a thread when nobody asks. A child is in its parent's groups, as in the kernel; whoever
lost its parent before it was seen is found by its session.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import replace

from kins.cgroupfs import processes
from kins.cgroupfs.accounting import Accounting, Groups
from kins.cgroupfs.model import Group, Membership, Process
from kins.cgroupfs.processes import ProcessStat

# How old figures may be: reading fifty files of a group costs one look at /proc.
SAMPLE_SECONDS = 0.1
# Looking takes no more than one part in so many of the time, however busy the machine is and whoever asks.
LOOKING_SHARE = 10


class Tracker:
    """The processes of this pid namespace, their groups and what they use. Not thread-safe: its owner locks.

    `on_new` is told of each process that got its groups by inheritance, `on_empty` of each group whose last process
    has ended.
    """

    def __init__(self, membership: Membership, accounting: Accounting) -> None:
        self.membership = membership
        self.accounting = accounting
        self.stats: dict[int, ProcessStat] = {}
        self.on_new: Callable[[Process], None] = lambda process: None
        self.on_empty: Callable[[Group], None] = lambda group: None
        self.on_sample: Callable[[], None] = lambda: None
        self._reader = processes.StatReader()
        self._sampled_at = float("-inf")
        self._taken = 0.0

    def refresh(self, max_age: float = SAMPLE_SECONDS) -> None:
        """Look at every process, unless that was done within `max_age` seconds; with 0 always."""
        began = time.monotonic()
        if max_age and began - self._sampled_at < max(max_age, self._taken * LOOKING_SHARE):
            return
        now = self._reader.read()
        self._sampled_at = time.monotonic()
        self._taken = self._sampled_at - began
        known = self.membership.processes
        replaced = [pid for pid, stat in now.items() if pid in known and known[pid].started != stat.started]
        self._forget(replaced, now)
        for pid in known.keys() & now.keys():
            known[pid].session = now[
                pid
            ].session  # a container's first process leaves its parent's when it is moved already
        self._add(stat for pid, stat in now.items() if pid not in known)
        self._forget([pid for pid in known if pid not in now], now)
        for pid, stat in now.items():
            self.accounting.ran(self.stats.get(pid), stat, known[pid].groups)
        self.accounting.expire(self._sampled_at)
        self.stats = now
        self.on_sample()

    def close(self) -> None:
        """Close what is open in /proc."""
        self._reader.close()

    def discover(self) -> None:
        """Look only for who is new and who is gone, which is quick; done before anything moves, so that children are
        not missed, and before processes are listed, because whoever reads such a list may send signals by it."""
        known = self.membership.processes
        there = set(processes.all_pids())
        self._forget([pid for pid in known if pid not in there], self.stats)
        found = (processes.stat_of(pid) for pid in there if pid not in known)
        self._add(stat for stat in found if stat is not None)

    def process(self, pid: int) -> Process | None:
        """A living process by its pid, which may be that of a thread."""
        stat = processes.stat_of(pid)
        leader = processes.process_of_thread(pid)
        if leader is not None and leader != pid:
            pid, stat = leader, processes.stat_of(leader)
        if stat is None or stat.state in processes.DEAD:
            return None
        known = self.membership.processes.get(pid)
        if known is not None and known.started != stat.started:
            self._forget([pid], self.stats)
            known = None
        if known is None:
            self._add([stat])
        process = self.membership.processes[pid]
        # What it has used so far is for the groups that it is in now, wherever it is put next.
        self.accounting.ran(self.stats.get(pid), stat, process.groups)
        self.stats[pid] = stat
        return process

    def living(self, pids: Iterable[int]) -> list[int]:
        """Those that are no zombies, sorted."""
        return sorted(pid for pid in pids if pid in self.stats and self.stats[pid].state not in processes.DEAD)

    def move(self, process: Process, group: Group) -> None:
        """Put a process into a group. Its children have been seen before, so they stay where they are."""
        before = self.membership.move(process, group)
        parent = self.membership.processes.get(process.parent)
        if parent is not None and parent.groups[group.hierarchy.name] is not group:
            self._remember_move(parent, process)
        if not before.members:
            self.on_empty(before)

    def _remember_move(self, parent: Process, process: Process) -> None:
        """Children of a moved process may be siblings of it: runc's init is made with CLONE_PARENT by a stage of it
        that ends, and is a child of runc then. It is recognised by its image, which is the stage's and not runc's."""
        image = processes.image_of(process.pid)
        if image and image != processes.image_of(parent.pid):
            parent.moved[image] = dict(process.groups)

    def _add(self, found: Iterable[ProcessStat]) -> None:
        # Parents before their children.
        for stat in sorted(found, key=lambda stat: (stat.started, stat.pid)):
            process = Process(stat.pid, stat.started, stat.parent, stat.session, self._inherited(stat))
            self.membership.add(process)
            self.stats.setdefault(stat.pid, _unused(stat))
            self.on_new(process)

    def _inherited(self, stat: ProcessStat) -> Groups:
        parent = self.membership.processes.get(stat.parent)
        if parent is not None and parent.moved:
            moved = parent.moved.get(processes.image_of(stat.pid))
            if moved is not None:
                return dict(moved)
        if stat.session != stat.pid and (parent is None or parent.session != stat.session):
            # Its parent has ended, and it was given to another one. The oldest of its session is most often the leader.
            older = [
                process
                for process in self.membership.processes.values()
                if process.session == stat.session and process.started <= stat.started
            ]
            if older:
                return dict(min(older, key=lambda process: process.started).groups)
        return dict(parent.groups) if parent is not None else {}

    def _forget(self, pids: list[int], now: dict[int, ProcessStat]) -> None:
        for pid in pids:
            process = self.membership.forget(pid)
            last = self.stats.pop(pid, None)
            if last is not None:
                heir = last.parent if last.parent in now else 1
                self.accounting.ended(last, heir, process.groups, self._sampled_at)
            for group in process.groups.values():
                if not group.members:
                    self.on_empty(group)


def _unused(stat: ProcessStat) -> ProcessStat:
    """A new process as it was when it began: all that it has used since is to be charged."""
    return replace(stat, user=0, system=0, reaped_user=0, reaped_system=0)
