"""What a group uses, from the last sample of /proc; the root groups' figures are the machine's."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from kins.cgroupfs import machine, processes
from kins.cgroupfs.machine import ProcessorTime
from kins.cgroupfs.model import Group, Usage
from kins.cgroupfs.tracking import Tracker


@dataclass(frozen=True)
class Memory:
    """Resident memory in bytes and page faults since the processes began.

    A page that several processes of a group share counts once for each of them: only the kernel knows better.
    """

    anonymous: int = 0
    file: int = 0
    minor_faults: int = 0
    major_faults: int = 0

    @property
    def total(self) -> int:
        """All that is resident."""
        return self.anonymous + self.file


def processor_times(group: Group) -> list[ProcessorTime]:
    """Each processor's work for a group and all below it, in nanoseconds; it includes processes that have ended."""
    whole = machine.processor_times()
    if group.is_root:
        return whole
    usage = Usage()
    for each in group.subtree():
        usage.add(each.usage)
    return [ProcessorTime(usage.user.get(index, 0), usage.system.get(index, 0)) for index in range(len(whole))]


def resident(tracker: Tracker, group: Group) -> int:
    """Bytes of memory of a group and all below it."""
    if group.is_root:
        found = machine.memory()
        return found.get("AnonPages", 0) + found.get("Cached", 0) + found.get("Buffers", 0)
    return sum(tracker.stats[pid].resident for pid in group.all_members() if pid in tracker.stats)


def memory(tracker: Tracker, group: Group, *, below: bool) -> Memory:
    """The parts of a group's memory, with that of the groups below it or without."""
    if group.is_root:
        found = machine.memory()
        return Memory(found.get("AnonPages", 0), found.get("Cached", 0) + found.get("Buffers", 0))
    pids = group.all_members() if below else group.members
    stats = [tracker.stats[pid] for pid in pids if pid in tracker.stats]
    # The two files of a process are read one after the other, so that a file's part may exceed the whole.
    backed = {stat.pid: min(processes.file_memory(stat.pid), stat.resident) for stat in stats}
    return Memory(
        anonymous=sum(stat.resident - backed[stat.pid] for stat in stats),
        file=sum(backed.values()),
        minor_faults=sum(stat.minor_faults for stat in stats),
        major_faults=sum(stat.major_faults for stat in stats),
    )


def threads(tracker: Tracker, pids: Iterable[int]) -> int:
    """How many tasks these processes have."""
    return sum(tracker.stats[pid].threads for pid in tracker.living(pids))


def remember_memory_peaks(tracker: Tracker, group: Group) -> int:
    """Note the largest memory of each group of a subtree; returns what its processes have now."""
    own = sum(tracker.stats[pid].resident for pid in group.members if pid in tracker.stats)
    used = own + sum(remember_memory_peaks(tracker, child) for child in group.children.values())
    group.remember_peak("memory", used)
    return used


def remember_task_peaks(tracker: Tracker, group: Group) -> int:
    """Note the largest number of tasks of each group of a subtree; returns that of now."""
    own = threads(tracker, group.members)
    tasks = own + sum(remember_task_peaks(tracker, child) for child in group.children.values())
    group.remember_peak("tasks", tasks)
    return tasks
