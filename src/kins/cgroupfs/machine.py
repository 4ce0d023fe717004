"""Figures of the whole machine (or sandbox), which are those of the root groups."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from kins.cgroupfs.processes import NANOSECONDS_PER_TICK

SECTOR = 512


@dataclass(frozen=True)
class ProcessorTime:
    """What one processor has worked, in nanoseconds."""

    user: int
    system: int

    @property
    def total(self) -> int:
        """User and system."""
        return self.user + self.system


@dataclass(frozen=True)
class Disk:
    """A line of /proc/diskstats, in bytes and operations."""

    number: str
    read_bytes: int
    write_bytes: int
    reads: int
    writes: int


def processor_times() -> list[ProcessorTime]:
    """Each processor's work since boot (proc_stat(5): user nice system idle iowait irq softirq steal)."""
    found = []
    for line in Path("/proc/stat").read_text().splitlines():
        name, *fields = line.split()
        if name.startswith("cpu") and name != "cpu":
            user, nice, system, _, _, irq, soft_irq = (int(field) * NANOSECONDS_PER_TICK for field in fields[:7])
            found.append(ProcessorTime(user + nice, system + irq + soft_irq))
    return found


def memory() -> dict[str, int]:
    """/proc/meminfo in bytes."""
    found = {}
    for line in Path("/proc/meminfo").read_text().splitlines():
        name, _, rest = line.partition(":")
        fields = rest.split()
        found[name] = int(fields[0]) * (1024 if fields[1:] == ["kB"] else 1)
    return found


def disks() -> list[Disk]:
    """What disks have read and written since boot; none where the kernel does not tell (gVisor)."""
    try:
        lines = Path("/proc/diskstats").read_text().splitlines()
    except OSError:
        return []
    rows = [line.split() for line in lines]
    return [
        Disk(f"{row[0]}:{row[1]}", int(row[5]) * SECTOR, int(row[9]) * SECTOR, int(row[3]), int(row[7]))
        for row in rows
        if Path("/sys/block", row[2]).exists() and int(row[3]) + int(row[7])
    ]


def processors() -> frozenset[int]:
    """The processors that are on line."""
    try:
        return parse_list(Path("/sys/devices/system/cpu/online").read_text())
    except OSError:
        return frozenset(range(os.cpu_count() or 1))


def memory_nodes() -> frozenset[int]:
    """The memory nodes that are on line; where the kernel does not tell there is one."""
    try:
        return parse_list(Path("/sys/devices/system/node/online").read_text())
    except OSError:
        return frozenset((0,))


def huge_page_sizes() -> list[str]:
    """The sizes of huge pages as the names of hugetlb's files write them: 2MB, 1GB; none where there are none."""
    try:
        names = os.listdir("/sys/kernel/mm/hugepages")
    except OSError:
        return []
    return sorted(_size_name(int(name.removeprefix("hugepages-").removesuffix("kB"))) for name in names)


def _size_name(kilobytes: int) -> str:
    if kilobytes >= 1 << 20:
        return f"{kilobytes >> 20}GB"
    return f"{kilobytes >> 10}MB" if kilobytes >= 1 << 10 else f"{kilobytes}KB"


def parse_list(text: str) -> frozenset[int]:
    """`0-2,5` as a set (cpuset(7), list format). Raises ValueError."""
    found: set[int] = set()
    for part in filter(None, text.strip().split(",")):
        match = re.fullmatch(r"(\d+)(?:-(\d+))?", part.strip())
        if match is None or int(match[2] or match[1]) < int(match[1]):
            raise ValueError(f"not a list of numbers: {text}")
        found.update(range(int(match[1]), int(match[2] or match[1]) + 1))
    return frozenset(found)


def format_list(numbers: frozenset[int]) -> str:
    """A set in list format."""
    parts: list[list[int]] = []
    for number in sorted(numbers):
        if parts and number == parts[-1][1] + 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ",".join(str(begin) if begin == end else f"{begin}-{end}" for begin, end in parts)
