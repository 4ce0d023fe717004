"""memory of version 1 (cgroup-v1/memory.rst)."""

from __future__ import annotations

import errno
import os

from kins.cgroupfs import figures
from kins.cgroupfs.control_groups import ControlGroups, Writer
from kins.cgroupfs.files.declaration import (
    PAGE,
    UNLIMITED,
    ControlFile,
    Read,
    constant,
    number,
    parse_number,
    parse_size,
    table,
)
from kins.cgroupfs.model import Group, refusal
from kins.sys import pidfd

LIMIT = "memory.limit_in_bytes"
SWAP_LIMIT = "memory.memsw.limit_in_bytes"
# Lines of memory.stat that nothing can be said about without the kernel.
UNKNOWN_FRONT = ("rss_huge", "shmem")
UNKNOWN_MIDDLE = (
    "dirty",
    "writeback",
    "workingset_refault_anon",
    "workingset_refault_file",
    "swap",
    "swapcached",
)


def limit_of(group: Group, name: str = LIMIT) -> int:
    """A limit in bytes."""
    return int(group.settings.get(name, UNLIMITED))


def lowest_limit(group: Group, name: str = LIMIT) -> int:
    """The limit that counts for a group: the lowest of its own and those above it."""
    return min(limit_of(each, name) for each in group.ancestors())


def limit_file(name: str, below: str | None = None, above: str | None = None) -> ControlFile:
    """A limit: written with a suffix or as -1, rounded down to pages, and -1 is read back as a very large number.

    It may not be above the limit `above` of the same group nor below its limit `below`. Where it is below the present
    usage, the kernel would answer EBUSY if it can reclaim nothing; here it is taken, since how much that is is not
    known, and a container must be able to start.
    """

    def write(groups: ControlGroups, group: Group, text: str, writer: Writer) -> None:
        if group.is_root:
            raise refusal(errno.EINVAL, name)
        size = parse_size(text, "-1")
        value = UNLIMITED if size is None else size
        if (above and value > limit_of(group, above)) or (below and value < limit_of(group, below)):
            raise refusal(errno.EINVAL, text)
        groups.set(group, name, str(value))

    return ControlFile(name, lambda groups, group: f"{limit_of(group, name)}\n", write)


def read_usage(groups: ControlGroups, group: Group) -> str:
    """Resident memory, with that of the groups below."""
    groups.tracker.refresh()
    usage = figures.resident(groups.tracker, group)
    group.remember_peak("memory", usage)  # or somebody would have seen more than the most
    return f"{usage}\n"


def read_peak(groups: ControlGroups, group: Group) -> str:
    """The largest memory that was seen."""
    groups.tracker.refresh()
    group.remember_peak("memory", figures.resident(groups.tracker, group))
    return f"{group.peaks.get('memory', 0)}\n"


def reset_peak(groups: ControlGroups, group: Group, text: str, writer: Writer) -> None:
    """Whatever is written, the largest is that of now."""
    groups.tracker.refresh(0)
    group.peaks["memory"] = figures.resident(groups.tracker, group)


def counter(name: str) -> Read:
    """A counter of events."""
    return lambda groups, group: f"{group.counters.get(name, 0)}\n"


def reset_counter(groups: ControlGroups, group: Group, text: str, writer: Writer) -> None:
    """Whatever is written, it begins anew."""
    group.counters["failcnt"] = 0
    groups.fold()


def nothing(groups: ControlGroups, group: Group, text: str, writer: Writer) -> None:
    """There is nothing to reclaim or to reset here."""


def usage_files(prefix: str, limit: ControlFile | None) -> tuple[ControlFile, ...]:
    """The four files of what is limited: usage, its largest, limit, how often it was reached."""
    return (
        ControlFile(f"{prefix}.failcnt", counter("failcnt"), reset_counter),
        *([limit] if limit else []),
        ControlFile(f"{prefix}.max_usage_in_bytes", read_peak, reset_peak),
        ControlFile(f"{prefix}.usage_in_bytes", read_usage),
    )


def kernel_files(prefix: str) -> tuple[ControlFile, ...]:
    """Kernel memory, which no process shows: all 0, and limits on it have no effect since Linux 6.6."""
    return (
        ControlFile(f"{prefix}.failcnt", lambda groups, group: "0\n", nothing),
        ControlFile(f"{prefix}.limit_in_bytes", lambda groups, group: f"{UNLIMITED}\n", nothing),
        ControlFile(f"{prefix}.max_usage_in_bytes", lambda groups, group: "0\n", nothing),
        constant(f"{prefix}.usage_in_bytes", "0\n"),
    )


def read_stat(groups: ControlGroups, group: Group) -> str:
    """The group's own figures, its limits, then the same with all below it."""
    groups.tracker.refresh()
    own = stat_rows(figures.memory(groups.tracker, group, below=False))
    whole = stat_rows(figures.memory(groups.tracker, group, below=True)) if group.children else own
    limits = {
        "hierarchical_memory_limit": lowest_limit(group),
        "hierarchical_memsw_limit": lowest_limit(group, SWAP_LIMIT),
    }
    return table(own | limits | {f"total_{name}": value for name, value in whole.items()})


def stat_rows(memory: figures.Memory) -> dict[str, int]:
    """The rows of memory.stat; all of a file that is resident counts as in use, so that it is no one's to reclaim."""
    return {
        "cache": memory.file,
        "rss": memory.anonymous,
        **dict.fromkeys(UNKNOWN_FRONT, 0),
        "mapped_file": memory.file,
        **dict.fromkeys(UNKNOWN_MIDDLE, 0),
        "pgpgin": 0,
        "pgpgout": 0,
        "pgfault": memory.minor_faults + memory.major_faults,
        "pgmajfault": memory.major_faults,
        "inactive_anon": 0,
        "active_anon": memory.anonymous,
        "inactive_file": 0,
        "active_file": memory.file,
        "unevictable": 0,
    }


def read_nodes(groups: ControlGroups, group: Group) -> str:
    """Pages by memory node: all on the first one, since /proc does not tell more cheaply."""
    groups.tracker.refresh()
    own = figures.memory(groups.tracker, group, below=False)
    whole = figures.memory(groups.tracker, group, below=True) if group.children else own
    lines = []
    for prefix, memory in (("", own), ("hierarchical_", whole)):
        rows = {"total": memory.total, "file": memory.file, "anon": memory.anonymous, "unevictable": 0}
        for name, size in rows.items():
            others = "".join(f" N{node}=0" for node in sorted(groups.nodes)[1:])
            lines.append(f"{prefix}{name}={size // PAGE} N{min(groups.nodes)}={size // PAGE}{others}\n")
    return "".join(lines)


def read_oom_control(groups: ControlGroups, group: Group) -> str:
    """Whether killing is off, whether it is needed right now, and how often it was done."""
    disabled = group.settings.get("memory.oom_control", "0")
    return f"oom_kill_disable {disabled}\nunder_oom 0\noom_kill {group.counters.get('oom_kill', 0)}\n"


def write_oom_control(groups: ControlGroups, group: Group, text: str, writer: Writer) -> None:
    """1 keeps the processes of a group from being killed."""
    if group.is_root:
        raise refusal(errno.EINVAL, text)
    groups.set(group, "memory.oom_control", str(parse_number(text, 0, 1)))


def write_event_control(groups: ControlGroups, group: Group, text: str, writer: Writer) -> None:
    """`EVENTFD FILE [ARGUMENT]`: tell the eventfd of events of a file, both descriptors of whoever writes.

    Only OOM kills happen here; thresholds and memory pressure are accepted and never reached.
    """
    fields = text.split()
    if len(fields) < 2:
        raise refusal(errno.EINVAL, text)
    event, file = (parse_number(each, 0, 2**31 - 1) for each in fields[:2])
    process = groups.process_of(writer)
    try:
        kind = os.readlink(f"/proc/{process}/fd/{event}")
        watched = os.path.basename(os.readlink(f"/proc/{process}/fd/{file}"))
    except OSError:
        raise refusal(errno.EBADF, text) from None
    if kind != "anon_inode:[eventfd]":
        raise refusal(errno.EINVAL, text)
    descriptor = pidfd.descriptor_of(process, event)
    if watched == "memory.oom_control":
        groups.listen(group, descriptor)
    else:
        os.close(descriptor)


FILES = (
    ControlFile("cgroup.event_control", None, write_event_control),
    *usage_files("memory", limit_file(LIMIT, above=SWAP_LIMIT)),
    *usage_files("memory.memsw", limit_file(SWAP_LIMIT, below=LIMIT)),
    *kernel_files("memory.kmem"),
    *kernel_files("memory.kmem.tcp"),
    ControlFile("memory.force_empty", None, nothing),
    constant("memory.kmem.slabinfo", ""),
    number("memory.move_charge_at_immigrate", 0, 0, 0),
    ControlFile("memory.numa_stat", read_nodes),
    ControlFile("memory.oom_control", read_oom_control, write_oom_control),
    constant("memory.pressure_level", ""),
    limit_file("memory.soft_limit_in_bytes"),
    ControlFile("memory.stat", read_stat),
    number("memory.swappiness", 60, 0, 200),
    # Since Linux 5.11 there is nothing else.
    number("memory.use_hierarchy", 1, 1, 1),
)
