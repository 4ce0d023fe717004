"""What /proc says of processes: one small read for each (proc_pid_stat(5)), and a few more where they are needed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

PROC = "/proc"
PAGE = os.sysconf("SC_PAGE_SIZE")
# CPU times of /proc are in clock ticks, those of control groups in nanoseconds.
NANOSECONDS_PER_TICK = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
# A dead process that nobody has waited for: its group may be removed, and it is in no cgroup.procs.
DEAD = "ZX"
STOPPED = "Tt"


@dataclass(frozen=True)
class ProcessStat:
    """One line of /proc/PID/stat. Times in ticks: `user` and `system` are its own, the `reaped_` ones those of all
    descendants that were waited for. `resident` is in bytes; `processor` is None where the kernel does not tell it
    (gVisor).
    """

    pid: int
    name: str
    state: str
    parent: int
    session: int
    minor_faults: int
    major_faults: int
    user: int
    system: int
    reaped_user: int
    reaped_system: int
    threads: int
    started: int
    resident: int
    processor: int | None


def parse_stat(text: str) -> ProcessStat:
    """A line of /proc/PID/stat; the name may hold spaces and parentheses."""
    head, _, tail = text.rpartition(")")
    pid, _, name = head.partition(" (")
    fields = tail.split()
    return ProcessStat(
        pid=int(pid),
        name=name,
        state=fields[0],
        parent=int(fields[1]),
        session=int(fields[3]),
        minor_faults=int(fields[7]),
        major_faults=int(fields[9]),
        user=int(fields[11]),
        system=int(fields[12]),
        reaped_user=int(fields[13]),
        reaped_system=int(fields[14]),
        threads=int(fields[17]),
        started=int(fields[19]),
        resident=int(fields[21]) * PAGE,
        # gVisor writes 0 for each field that it does not have, the address of the code among them.
        processor=int(fields[36]) if fields[23] != "0" else None,
    )


def stat_of(pid: int) -> ProcessStat | None:
    """What a process is doing; None where there is none (any more)."""
    try:
        with open(f"{PROC}/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return parse_stat(file.read())
    except (OSError, ValueError, IndexError):
        return None


def all_pids() -> list[int]:
    """Every process of this pid namespace."""
    return [int(name) for name in os.listdir(PROC) if name.isdecimal()]


def read_all() -> Iterator[ProcessStat]:
    """Every process, as far as it lives long enough to be read."""
    for pid in all_pids():
        stat = stat_of(pid)
        if stat is not None:
            yield stat


def threads_of(pid: int) -> list[int]:
    """The threads of a process."""
    try:
        return sorted(int(name) for name in os.listdir(f"{PROC}/{pid}/task"))
    except OSError:
        return []


def process_of_thread(thread: int) -> int | None:
    """The process that a thread belongs to; /proc/TID is there for every thread, although it is not listed."""
    try:
        with open(f"{PROC}/{thread}/status", encoding="utf-8", errors="replace") as file:
            for line in file:
                if line.startswith("Tgid:"):
                    return int(line.split()[1])
    except OSError:
        return None
    return None


def image_of(pid: int) -> bytes:
    """What a process executes, as the random addresses that exec(2) gave it: forks have their parent's.

    gVisor shows no addresses in /proc/PID/stat, but the auxiliary vector (getauxval(3)) on both. Empty if unknown.
    """
    try:
        with open(f"{PROC}/{pid}/auxv", "rb") as file:
            return file.read()
    except OSError:
        return b""


def anonymous_memory(pid: int) -> int:
    """Bytes of a process that no file backs, which is what a limit can only be kept by killing.

    Linux knows it at once (/proc/PID/status); gVisor tells it by area in /proc/PID/smaps, and shared memory not at all.
    """
    try:
        with open(f"{PROC}/{pid}/status", encoding="utf-8", errors="replace") as file:
            found = [line.split() for line in file if line.startswith(("RssAnon:", "RssShmem:"))]
        if found:
            return sum(int(fields[1]) for fields in found) * 1024
        with open(f"{PROC}/{pid}/smaps", encoding="utf-8", errors="replace") as file:
            return sum(int(line.split()[1]) for line in file if line.startswith("Anonymous:")) * 1024
    except (OSError, ValueError, IndexError):
        return 0


def file_memory(pid: int) -> int:
    """Resident bytes of a process that belong to files; 0 where statm does not tell (gVisor)."""
    try:
        with open(f"{PROC}/{pid}/statm", encoding="ascii") as file:
            return int(file.read().split()[2]) * PAGE
    except (OSError, ValueError, IndexError):
        return 0
