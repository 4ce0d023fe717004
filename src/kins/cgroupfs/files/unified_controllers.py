"""Version 2 (admin-guide/cgroup-v2.rst): the files of each controller.

Limits are kept; that of memory is enforced where it was asked for.
"""

from __future__ import annotations

import errno
import re
from dataclasses import replace

from kins.cgroupfs import figures, machine
from kins.cgroupfs.control_groups import ControlGroups, Writer
from kins.cgroupfs.files.cpu import PERIOD_DEFAULT, PERIOD_MAXIMUM, PERIOD_MINIMUM, QUOTA_MINIMUM
from kins.cgroupfs.files.cpuset import parse
from kins.cgroupfs.files.declaration import (
    UNLIMITED,
    ControlFile,
    Read,
    Where,
    constant,
    number,
    parse_number,
    parse_size,
    setting,
    stored,
    switch,
    table,
)
from kins.cgroupfs.files.memory import nothing, read_usage, reset_peak
from kins.cgroupfs.files.memory import read_peak as read_memory_peak
from kins.cgroupfs.files.small_controllers import MOST_TASKS, read_most_tasks, read_tasks
from kins.cgroupfs.files.unified import limit
from kins.cgroupfs.machine import format_list
from kins.cgroupfs.model import Group, refusal

NOT_ROOT = Where.NOT_ROOT
# Rows of memory.stat that nothing can be said about without the kernel, in the kernel's order.
MEMORY_ROWS = (
    "anon",
    "file",
    "kernel",
    "kernel_stack",
    "pagetables",
    "sec_pagetables",
    "percpu",
    "sock",
    "vmalloc",
    "shmem",
    "zswap",
    "zswapped",
    "file_mapped",
    "file_dirty",
    "file_writeback",
    "swapcached",
    "anon_thp",
    "file_thp",
    "shmem_thp",
    "inactive_anon",
    "active_anon",
    "inactive_file",
    "active_file",
    "unevictable",
    "slab_reclaimable",
    "slab_unreclaimable",
    "slab",
    "workingset_refault_anon",
    "workingset_refault_file",
    "workingset_activate_anon",
    "workingset_activate_file",
    "workingset_restore_anon",
    "workingset_restore_file",
    "workingset_nodereclaim",
    "pgfault",
    "pgmajfault",
)
MEMORY_EVENTS = ("low", "high", "max", "oom", "oom_kill", "oom_group_kill")
DEVICE_LIMIT = re.compile(r"(?P<device>\d+:\d+)(?P<limits>( (rbps|wbps|riops|wiops)=(\d+|max))+)")
DEVICE_LIMITS = ("rbps", "wbps", "riops", "wiops")
DEVICE_WEIGHT = re.compile(r"(?P<device>\d+:\d+) (?P<weight>\d+|default)")


def of(controller: str, *files: ControlFile) -> tuple[ControlFile, ...]:
    """Files that are only where their controller is enabled."""
    return tuple(replace(file, controller=controller) for file in files)


def write_cpu_max(groups: ControlGroups, group: Group, text: str, writer: Writer) -> None:
    """`QUOTA [PERIOD]` in microseconds, the quota perhaps `max`."""
    words = text.split()
    kept = groups_cpu_max(group)
    if not 1 <= len(words) <= 2:
        raise refusal(errno.EINVAL, text)
    period = parse_number(words[1]) if len(words) == 2 else int(kept[1])
    if not PERIOD_MINIMUM <= period <= PERIOD_MAXIMUM:
        raise refusal(errno.EINVAL, text)
    if words[0] != "max" and parse_number(words[0]) < QUOTA_MINIMUM:
        raise refusal(errno.EINVAL, text)
    groups.set(group, "cpu.max", f"{words[0]} {period}")


def groups_cpu_max(group: Group) -> list[str]:
    """The quota and the period of a group."""
    return group.settings.get("cpu.max", f"max {PERIOD_DEFAULT}").split()


CPU = of(
    "cpu",
    switch("cpu.idle", where=NOT_ROOT),
    ControlFile("cpu.max", stored("cpu.max", f"max {PERIOD_DEFAULT}"), write_cpu_max, NOT_ROOT),
    number("cpu.max.burst", 0, 0, 2**63 // 1000, NOT_ROOT),
    number("cpu.weight", 100, 1, 10_000, NOT_ROOT, errno.ERANGE),
    number("cpu.weight.nice", 0, -20, 19, NOT_ROOT, errno.ERANGE),
)


def size_file(name: str, default: str) -> ControlFile:
    """Bytes, in whole pages, or `max`."""

    def write(groups: ControlGroups, group: Group, text: str, writer: Writer) -> None:
        size = parse_size(text, "max")
        value = "max" if size is None or size >= UNLIMITED else str(size)
        groups.set(group, name, None if value == default else value)

    return ControlFile(name, stored(name, default), write, NOT_ROOT)


def read_events(*, below: bool) -> Read:
    """What has happened to a group, and to those below it."""

    def read(groups: ControlGroups, group: Group) -> str:
        counted = list(group.subtree()) if below else [group]
        return table({name: sum(each.counters.get(name, 0) for each in counted) for name in MEMORY_EVENTS})

    return read


def read_memory_stat(groups: ControlGroups, group: Group) -> str:
    """The parts of a group's memory, with all below it."""
    groups.tracker.refresh()
    memory = figures.memory(groups.tracker, group, below=True)
    known = {
        "anon": memory.anonymous,
        "file": memory.file,
        "file_mapped": memory.file,
        "active_anon": memory.anonymous,
        "active_file": memory.file,
        "pgfault": memory.minor_faults + memory.major_faults,
        "pgmajfault": memory.major_faults,
    }
    return table(dict.fromkeys(MEMORY_ROWS, 0) | known)


def read_memory_nodes(groups: ControlGroups, group: Group) -> str:
    """Bytes by memory node: all on the first one, since /proc does not tell more cheaply."""
    groups.tracker.refresh()
    memory = figures.memory(groups.tracker, group, below=True)
    return f"anon N{min(groups.nodes)}={memory.anonymous}\nfile N{min(groups.nodes)}={memory.file}\n"


MEMORY = of(
    "memory",
    ControlFile("memory.current", read_usage, where=NOT_ROOT),
    ControlFile("memory.events", read_events(below=True), where=NOT_ROOT),
    ControlFile("memory.events.local", read_events(below=False), where=NOT_ROOT),
    size_file("memory.high", "max"),
    size_file("memory.low", "0"),
    size_file("memory.max", "max"),
    size_file("memory.min", "0"),
    ControlFile("memory.numa_stat", read_memory_nodes),
    number("memory.oom.group", 0, 0, 1, NOT_ROOT),
    ControlFile("memory.peak", read_memory_peak, reset_peak, NOT_ROOT),
    ControlFile("memory.reclaim", None, nothing),
    ControlFile("memory.stat", read_memory_stat),
    constant("memory.swap.current", "0\n", NOT_ROOT),
    constant("memory.swap.events", "high 0\nmax 0\nfail 0\n", NOT_ROOT),
    size_file("memory.swap.high", "max"),
    size_file("memory.swap.max", "max"),
    constant("memory.swap.peak", "0\n", NOT_ROOT),
)

PIDS = of(
    "pids",
    ControlFile("pids.current", read_tasks, where=NOT_ROOT),
    constant("pids.events", "max 0\n", NOT_ROOT),
    constant("pids.events.local", "max 0\n", NOT_ROOT),
    ControlFile("pids.max", *limit("pids.max", MOST_TASKS, outside=errno.EINVAL), where=NOT_ROOT),
    ControlFile("pids.peak", read_most_tasks, where=NOT_ROOT),
)


def member_file(name: str) -> ControlFile:
    """cpuset.cpus and cpuset.mems: what is asked for, whatever of it can be had."""

    def write(groups: ControlGroups, group: Group, text: str, writer: Writer) -> None:
        wanted = parse(text)
        groups.set(group, name, format_list(wanted) or None)

    return ControlFile(name, stored(name, ""), write, NOT_ROOT)


def effective_file(name: str, of: str) -> ControlFile:
    """What can be had of it: within the parent's, and all of that where nothing is asked for."""

    def effective(groups: ControlGroups, group: Group) -> frozenset[int]:
        if group.parent is None:
            return groups.processors if of == "cpuset.cpus" else groups.nodes
        whole = effective(groups, group.parent)
        return parse(group.settings.get(of, "")) & whole or whole

    return ControlFile(name, lambda groups, group: f"{format_list(effective(groups, group))}\n")


CPUSET = of(
    "cpuset",
    member_file("cpuset.cpus"),
    effective_file("cpuset.cpus.effective", "cpuset.cpus"),
    setting("cpuset.cpus.partition", "member", NOT_ROOT),
    member_file("cpuset.mems"),
    effective_file("cpuset.mems.effective", "cpuset.mems"),
)


def read_io_stat(groups: ControlGroups, group: Group) -> str:
    """What disks have done; only for all groups together, since nobody tells for whom."""
    if not group.is_root:
        return ""
    return "".join(
        f"{disk.number} rbytes={disk.read_bytes} wbytes={disk.write_bytes} rios={disk.reads} wios={disk.writes}"
        " dbytes=0 dios=0\n"
        for disk in machine.disks()
    )


def rows_of(group: Group, name: str) -> dict[str, str]:
    """What was set, by device."""
    return dict(line.split(" ", 1) for line in group.settings.get(name, "").split("\n") if line)


def keep_rows(groups: ControlGroups, group: Group, name: str, rows: dict[str, str]) -> None:
    """Store what was set, by device."""
    groups.set(group, name, "\n".join(f"{device} {value}" for device, value in rows.items()) or None)


def write_io_max(groups: ControlGroups, group: Group, text: str, writer: Writer) -> None:
    """`MAJOR:MINOR rbps=N wbps=N riops=N wiops=N`; what is not named stays, and all `max` is no limit."""
    entry = DEVICE_LIMIT.fullmatch(text)
    if entry is None:
        raise refusal(errno.EINVAL, text)
    rows = rows_of(group, "io.max")
    kept = rows.get(entry["device"], " ".join(f"{name}=max" for name in DEVICE_LIMITS))
    limits = dict(word.split("=") for word in f"{kept}{entry['limits']}".split())
    rows[entry["device"]] = " ".join(f"{name}={limits[name]}" for name in DEVICE_LIMITS)
    if set(limits.values()) == {"max"}:
        del rows[entry["device"]]
    keep_rows(groups, group, "io.max", rows)


def read_rows(name: str) -> Read:
    """What was set, a line for each device."""
    return lambda groups, group: "".join(f"{device} {value}\n" for device, value in rows_of(group, name).items())


def read_io_weight(groups: ControlGroups, group: Group) -> str:
    """The group's own, then those of devices."""
    rows = {"default": "100"} | rows_of(group, "io.weight")
    return "".join(f"{device} {value}\n" for device, value in rows.items())


def write_io_weight(groups: ControlGroups, group: Group, text: str, writer: Writer) -> None:
    """`[default] N` or `MAJOR:MINOR N|default`."""
    rows = rows_of(group, "io.weight")
    entry = DEVICE_WEIGHT.fullmatch(text)
    if entry is not None and entry["weight"] == "default":
        rows.pop(entry["device"], None)
    else:
        weight = parse_number(entry["weight"] if entry is not None else text.removeprefix("default "))
        if not 1 <= weight <= 10_000:
            raise refusal(errno.ERANGE, text)
        rows[entry["device"] if entry is not None else "default"] = str(weight)
    keep_rows(groups, group, "io.weight", rows)


IO = of(
    "io",
    ControlFile("io.max", read_rows("io.max"), write_io_max, NOT_ROOT),
    ControlFile("io.stat", read_io_stat),
    ControlFile("io.weight", read_io_weight, write_io_weight, NOT_ROOT),
)


def huge_limit(name: str) -> ControlFile:
    """A limit on huge pages; as long as nobody sets it, it reads as in version 1."""

    def write(groups: ControlGroups, group: Group, text: str, writer: Writer) -> None:
        size = parse_size(text, "max")
        groups.set(group, name, "max" if size is None else str(size))

    return ControlFile(name, stored(name, str(UNLIMITED)), write, NOT_ROOT)


def hugetlb(sizes: list[str]) -> tuple[ControlFile, ...]:
    """The files of each size of huge pages; nobody tells who uses such pages."""
    found: list[ControlFile] = []
    for prefix in (f"hugetlb.{size}" for size in sizes):
        found += [
            constant(f"{prefix}.current", "0\n", NOT_ROOT),
            constant(f"{prefix}.events", "max 0\n", NOT_ROOT),
            constant(f"{prefix}.events.local", "max 0\n", NOT_ROOT),
            huge_limit(f"{prefix}.max"),
            constant(f"{prefix}.numa_stat", "total=0 N0=0\n", NOT_ROOT),
            constant(f"{prefix}.rsvd.current", "0\n", NOT_ROOT),
            huge_limit(f"{prefix}.rsvd.max"),
        ]
    return of("hugetlb", *found)
