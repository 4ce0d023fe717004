"""What /proc says of processes: one small read for each (proc_pid_stat(5)), and a few more where they are needed."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass

PROC = "/proc"
PAGE = os.sysconf("SC_PAGE_SIZE")
# CPU times of /proc are in clock ticks, those of control groups in nanoseconds.
NANOSECONDS_PER_TICK = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
# A dead process that nobody has waited for: its group may be removed, and it is in no cgroup.procs.
DEAD = "ZX"
STOPPED = "Tt"
# More than such files have.
STAT_BYTES = 1024
STATUS_BYTES = 8192
# How many files stay open; a process may usually have 1024.
DESCRIPTORS = 400


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
    return parsed(read_file(f"{PROC}/{pid}/stat", STAT_BYTES))


def parsed(content: bytes) -> ProcessStat | None:
    """What such a file says; None if it says nothing of a process."""
    try:
        return parse_stat(content.decode(errors="replace"))
    except (ValueError, IndexError):
        return None


def read_file(path: str, size: int) -> bytes:
    """A file of /proc; empty where there is none (any more). Not open(): in gVisor that takes seven times as long."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(descriptor, size)
    except OSError:
        return b""
    finally:
        os.close(descriptor)


def all_pids() -> list[int]:
    """Every process of this pid namespace."""
    return [int(name) for name in os.listdir(PROC) if name.isdecimal()]


class StatReader:
    """Reads all processes again and again, through descriptors that stay open: half the price of opening each time.

    The descriptor of a process that has ended gives an error or, in gVisor, a line with pid 0; so a pid that is used
    again is not taken for the one before it.
    """

    def __init__(self) -> None:
        self._descriptors: dict[int, int] = {}

    def read(self, pids: Iterable[int] | None = None) -> dict[int, ProcessStat]:
        """Every process, or those named, as far as they live long enough to be read."""
        wanted = all_pids() if pids is None else list(pids)
        for gone in self._descriptors.keys() - set(wanted):
            os.close(self._descriptors.pop(gone))
        found = ((pid, self._stat(pid)) for pid in wanted)
        return {pid: stat for pid, stat in found if stat is not None}

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Close all descriptors."""
        while self._descriptors:
            os.close(self._descriptors.popitem()[1])

    def _stat(self, pid: int) -> ProcessStat | None:
        for _ in range(2):
            stat = parsed(self._content(pid))
            if stat is not None and stat.pid == pid:
                return stat
            if pid in self._descriptors:
                os.close(self._descriptors.pop(pid))
        return None

    def _content(self, pid: int) -> bytes:
        if pid not in self._descriptors:
            if len(self._descriptors) >= DESCRIPTORS:
                return read_file(f"{PROC}/{pid}/stat", STAT_BYTES)
            try:
                self._descriptors[pid] = os.open(f"{PROC}/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                return b""
        try:
            return os.pread(self._descriptors[pid], STAT_BYTES, 0)
        except OSError:
            return b""


def threads_of(pid: int) -> list[int]:
    """The threads of a process."""
    try:
        return sorted(int(name) for name in os.listdir(f"{PROC}/{pid}/task"))
    except OSError:
        return []


def process_of_thread(thread: int) -> int | None:
    """The process that a thread belongs to; /proc/TID is there for every thread, although it is not listed."""
    found = re.search(rb"^Tgid:\s*(\d+)$", read_file(f"{PROC}/{thread}/status", STATUS_BYTES), re.MULTILINE)
    return int(found[1]) if found is not None else None


def image_of(pid: int) -> bytes:
    """What a process executes, as the random addresses that exec(2) gave it: forks have their parent's.

    gVisor shows no addresses in /proc/PID/stat, but the auxiliary vector (getauxval(3)) on both. Empty if unknown.
    """
    return read_file(f"{PROC}/{pid}/auxv", STATUS_BYTES)


def anonymous_memory(pid: int) -> int:
    """Bytes of a process that no file backs, which is what a limit can only be kept by killing.

    Linux knows it at once (/proc/PID/status); gVisor tells it by area in /proc/PID/smaps, and shared memory not at all.
    """
    status = read_file(f"{PROC}/{pid}/status", STATUS_BYTES)
    found = re.findall(rb"^Rss(?:Anon|Shmem):\s*(\d+) kB$", status, re.MULTILINE)
    if not found:
        try:
            with open(f"{PROC}/{pid}/smaps", "rb") as file:
                found = re.findall(rb"^Anonymous:\s*(\d+) kB$", file.read(), re.MULTILINE)
        except OSError:
            return 0
    return sum(map(int, found)) * 1024


def file_memory(pid: int) -> int:
    """Resident bytes of a process that belong to files; 0 where statm does not tell (gVisor)."""
    fields = read_file(f"{PROC}/{pid}/statm", STAT_BYTES).split()
    return int(fields[2]) * PAGE if len(fields) > 2 else 0
