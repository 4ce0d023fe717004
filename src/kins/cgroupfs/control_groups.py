"""All hierarchies together, in step with /proc and with their file: what the file system shows and changes."""

from __future__ import annotations

import errno
import logging
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from kins.cgroupfs import figures, machine, processes
from kins.cgroupfs.accounting import Accounting
from kins.cgroupfs.model import Group, Hierarchy, Membership, Ownership, Process, refusal
from kins.cgroupfs.state import Restoring, StateFile, move_record, snapshot
from kins.cgroupfs.tracking import Tracker

log = logging.getLogger(__name__)

# The directories of version 1 in the order in which they are listed, and numbered in /proc/PID/cgroup.
CONTROLLERS_V1 = (
    "cpu",
    "cpuacct",
    "cpuset",
    "memory",
    "pids",
    "devices",
    "blkio",
    "freezer",
    "hugetlb",
    "perf_event",
    "net_cls",
)
CONTROLLERS_V2 = ("cpuset", "cpu", "io", "memory", "hugetlb", "pids")
# The name of version 2's only hierarchy.
UNIFIED = ""
# Nobody may ask for a while, but processes come and go.
IDLE_SECONDS = 1.0
# What is appended to the file is folded into the present state after this many records, or seconds.
RECORDS = 2000
FOLD_SECONDS = 30.0


@dataclass(frozen=True)
class Writer:
    """Who writes into a file, as the kernel knows it: a thread's id."""

    thread: int


class ControlGroups:
    """The groups of one version, with the rules that they follow. `lock` guards all of it."""

    def __init__(self, version: int, state: Path | None) -> None:
        self.version = version
        self.lock = threading.RLock()
        names = CONTROLLERS_V1 if version == 1 else (UNIFIED,)
        unified = tuple(name for name in CONTROLLERS_V2 if name != "hugetlb" or machine.huge_page_sizes())
        self.hierarchies = {name: Hierarchy(name, (name,) if name else unified) for name in names}
        self.processors = machine.processors()
        self.nodes = machine.memory_nodes()
        charged = ("cpuacct",) if version == 1 else (UNIFIED,)
        self.membership = Membership(self.hierarchies)
        self.tracker = Tracker(self.membership, Accounting(charged, len(self.processors)))
        self._state = StateFile(state) if state is not None else None
        self._folded_at = time.monotonic()
        self.stopping = threading.Event()
        # Descriptors that are told of an OOM kill (cgroup.event_control), by group.
        self.listeners: dict[Group, list[int]] = {}

    # The life of the server

    def load(self) -> None:
        """Go on with the state of an earlier server, and find what has happened since."""
        with self.lock:
            if self._state is not None:
                restoring = Restoring(self.hierarchies, self.membership)
                restoring.apply(self._state.read())
                self._resume_accounting(restoring.charged)
            self.tracker.on_new = self._started
            self.tracker.on_empty = self._emptied
            self.tracker.on_sample = self._sampled
            self.tracker.refresh(0)
            self.fold()

    def _resume_accounting(self, charged: dict[int, list[int]]) -> None:
        for pid, (user, system, reaped_user, reaped_system) in charged.items():
            stat = processes.stat_of(pid)
            process = self.membership.processes.get(pid)
            if stat is not None and process is not None and stat.started == process.started:
                self.tracker.stats[pid] = replace(
                    stat, user=user, system=system, reaped_user=reaped_user, reaped_system=reaped_system
                )

    def fold(self) -> None:
        """Write the present state."""
        if self._state is None:
            return
        charged = {
            pid: [stat.user, stat.system, stat.reaped_user, stat.reaped_system]
            for pid, stat in self.tracker.stats.items()
        }
        self._state.write(snapshot(self.hierarchies, self.membership, charged))
        self._folded_at = time.monotonic()

    def watch(self) -> None:
        """Look at /proc until `stopping` is set, also when nobody reads."""
        while not self.stopping.wait(IDLE_SECONDS):
            with self.lock:
                self.tracker.refresh(IDLE_SECONDS / 2)
                old = time.monotonic() - self._folded_at > FOLD_SECONDS
                if self._state is not None and (old or self._state.appended > RECORDS):
                    self.fold()

    def close(self) -> None:
        """Write the state for the next server."""
        self.stopping.set()
        with self.lock:
            self.fold()
            self.tracker.close()
            if self._state is not None:
                self._state.close()

    # Changes; each is on disk before its caller is answered

    def make(self, hierarchy: Hierarchy, path: str, mode: int, user: int, owner: int) -> Group:
        """mkdir(2)."""
        check_room(hierarchy, path)
        group = hierarchy.make(path)
        self._record("make", hierarchy.name, path)
        if (mode, user, owner) != (0o755, 0, 0):
            self.own(group, "", Ownership(mode, user, owner))
        return group

    def remove(self, group: Group) -> None:
        """rmdir(2): a group whose only processes are zombies may go; they are their parents' from then on."""
        self.tracker.refresh(0)
        if self.tracker.living(group.members) or group.children or group.parent is None:
            raise refusal(errno.EBUSY, group.path)
        path = group.path
        for pid in list(group.members):
            self.membership.move(self.membership.processes[pid], group.parent)
        group.hierarchy.remove(group)
        # Whoever listens for kills learns of the end this way (cgroup-v1/memory.rst, 10).
        self.notify(group)
        for descriptor in self.listeners.pop(group, ()):
            os.close(descriptor)
        self._record("remove", group.hierarchy.name, path)

    def rename(self, group: Group, name: str) -> None:
        """rename(2) within a directory, as version 1 has it."""
        path = group.path
        group.hierarchy.rename(group, name)
        self._record("rename", group.hierarchy.name, path, name)

    def own(self, group: Group, name: str, ownership: Ownership) -> None:
        """chmod(2) and chown(2) of a file, or of the directory where the name is empty."""
        group.ownership[name] = ownership
        self._record("own", group.hierarchy.name, group.path, name, ownership.mode, ownership.user, ownership.group)

    def set(self, group: Group, name: str, value: str | None) -> None:
        """Keep what a file was set to; None for its default."""
        if value is None:
            group.settings.pop(name, None)
        else:
            group.settings[name] = value
        self._record("set", group.hierarchy.name, group.path, name, value)

    def move(self, group: Group, pid: int) -> None:
        """Put a process (or that of a thread) into a group. Raises ProcessLookupError."""
        # Before the move: children that it has by now stay where they are.
        self.tracker.discover()
        process = self.tracker.process(pid)
        if process is None:
            raise refusal(errno.ESRCH, str(pid))
        self.tracker.move(process, group)
        self._record(*move_record(process, []))
        self._freeze_or_thaw_one(process, group)

    def process_of(self, writer: Writer) -> int:
        """The process of whoever writes."""
        return processes.process_of_thread(writer.thread) or writer.thread

    # Freezing

    def frozen(self, group: Group) -> bool:
        """Whether a group is frozen by itself or by one above it."""
        return any(each.settings.get("frozen") == "1" for each in group.ancestors())

    def freeze(self, group: Group, frozen: bool) -> None:
        """Stop or continue all processes of a group and of those below it: SIGSTOP for want of the kernel's way.

        A process that was stopped otherwise before is continued too; a parent that waits for stops sees them.
        """
        self.set(group, "frozen", "1" if frozen else None)
        self.tracker.refresh(0)
        for each in group.subtree():
            self._signal(each.members, signal.SIGSTOP if self.frozen(each) else signal.SIGCONT)

    def is_stopped(self, group: Group) -> bool:
        """Whether every process of a group and of those below it has stopped."""
        self.tracker.refresh(0)
        return all(
            self.tracker.stats[pid].state in processes.STOPPED for pid in self.tracker.living(group.all_members())
        )

    def _freeze_or_thaw_one(self, process: Process, group: Group) -> None:
        if group.hierarchy.name in ("freezer", UNIFIED) and self.frozen(group):
            self._signal([process.pid], signal.SIGSTOP)

    def kill(self, group: Group) -> None:
        """SIGKILL to all processes of a group and of those below it."""
        self.tracker.refresh(0)
        self._signal(group.all_members(), signal.SIGKILL)

    def _signal(self, pids: Iterable[int], number: signal.Signals) -> None:
        for pid in self.tracker.living(pids):
            # Whoever serves the files cannot be frozen, and process 1 would take all others with it.
            if pid in (os.getpid(), 1):
                continue
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue

    # OOM kills

    def listen(self, group: Group, descriptor: int) -> None:
        """Tell an eventfd(2) of each OOM kill in a group; it is closed with the group."""
        self.listeners.setdefault(group, []).append(descriptor)

    def notify(self, group: Group) -> None:
        """Tell those who listen."""
        for descriptor in self.listeners.get(group, ()):
            try:
                os.eventfd_write(descriptor, 1)
            except OSError as error:
                log.warning("cannot tell of an OOM kill in %s: %s", group.path, error)

    # What the tracker finds

    def _started(self, process: Process) -> None:
        if any(not group.is_root for group in process.groups.values()):
            self._record(*move_record(process, []))
        for name in ("freezer", UNIFIED):
            if name in process.groups:
                self._freeze_or_thaw_one(process, process.groups[name])

    def _sampled(self) -> None:
        memory = self.hierarchies.get("memory") or self.hierarchies[UNIFIED]
        tasks = self.hierarchies.get("pids") or self.hierarchies[UNIFIED]
        figures.remember_memory_peaks(self.tracker, memory.root)
        figures.remember_task_peaks(self.tracker, tasks.root)

    def _emptied(self, group: Group) -> None:
        """notify_on_release of version 1: the agent learns which group nobody uses any more."""
        agent = group.hierarchy.root.settings.get("release_agent")
        if not agent or group.settings.get("notify_on_release") != "1" or group.children or group.members:
            return
        try:
            subprocess.Popen([agent, group.path], stdin=subprocess.DEVNULL, start_new_session=True)
        except OSError as error:
            log.warning("cannot run the release agent for %s: %s", group.path, error)

    def _record(self, *record: object) -> None:
        if self._state is not None:
            self._state.append(*record)


def check_room(hierarchy: Hierarchy, path: str) -> None:
    """Version 2's limits on how many groups there are and how deep (cgroup-v2.rst). Raises OSError (EAGAIN)."""
    for depth, group in enumerate(hierarchy.find(path.rpartition("/")[0]).ancestors(), 1):
        descendants = sum(1 for _ in group.subtree()) - 1
        for name, value in (("cgroup.max.depth", depth), ("cgroup.max.descendants", descendants + 1)):
            limit = group.settings.get(name, "max")
            if limit != "max" and value > int(limit):
                raise refusal(errno.EAGAIN, path)
