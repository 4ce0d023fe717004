"""What components use, read from /proc (proc_pid_stat(5), proc_pid_statm(5)).

A component is counted as the process group that it leads, and not as its session or its descendants: a wrapper that
traces it is in that group with its program, while container shims (containerd gives each a group of its own) and the
containers below them are not the component's.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import msgspec

PROC = Path("/proc")
TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """Resident bytes, seconds of CPU since the start (children that ended included), open descriptors, processes."""

    memory_bytes: int
    cpu_seconds: float
    descriptors: int
    processes: int


class ComponentUsage(msgspec.Struct, frozen=True, kw_only=True):
    """A component at a moment; `programs` has the figures by the name of the program, such as a tracer's and its own.

    `pid` is None, and there are no figures, while the component is not running.
    """

    name: str
    pid: int | None
    restarts: int
    last_exit: str | None
    programs: dict[str, Figures]


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a supervisor sees: its components, itself, and how much there is of what can leak."""

    components: tuple[ComponentUsage, ...]
    supervisor: Figures
    processes: int
    mounts: int


class Process(msgspec.Struct, frozen=True):
    """A process as its stat file has it: seconds of CPU of its own, and of children that it has waited for."""

    pid: int
    name: str
    group: int
    own_seconds: float
    children_seconds: float


def processes(proc: Path = PROC) -> list[Process]:
    """Every process of this pid namespace, those left out that end meanwhile."""
    found = (_read_stat(entry) for entry in proc.iterdir() if entry.name.isdigit())
    return [process for process in found if process is not None]


def _read_stat(entry: Path) -> Process | None:
    try:
        text = (entry / "stat").read_text()
    except OSError:  # it has ended
        return None
    # The name may hold spaces and parentheses; the fields after it are counted from the state, field 3.
    head, _, tail = text.rpartition(")")
    fields = tail.split()
    user, system, children_user, children_system = (int(field) / TICKS for field in fields[11:15])
    name = head.partition("(")[2]
    return Process(int(entry.name), name, int(fields[2]), user + system, children_user + children_system)


def by_program(found: Iterable[Process], group: int, proc: Path = PROC) -> dict[str, Figures]:
    """The figures of a process group, added up by the name of the program. A child that ended stays counted, with the
    program that waited for it, so that seconds never fall."""
    figures: dict[str, Figures] = {}
    for process in found:
        if process.group == group:
            mine = _figures(process, process.own_seconds + process.children_seconds, proc)
            name = _program(process, proc)
            figures[name] = _added(figures[name], mine) if name in figures else mine
    return figures


def _program(process: Process, proc: Path) -> str:
    """A process's program by its first argument: the kernel's name of one that started itself anew, by /proc/self/exe
    as tracers do, is `exe`."""
    try:
        first, _, _ = (proc / str(process.pid) / "cmdline").read_bytes().partition(b"\0")
    except OSError:  # it ended just now
        first = b""
    return os.path.basename(first).decode(errors="replace") or process.name


def alone(found: Iterable[Process], pid: int, proc: Path = PROC) -> Figures:
    """The figures of one process without its children: a supervisor's are the components."""
    process = next(each for each in found if each.pid == pid)
    return _figures(process, process.own_seconds, proc)


def mounts(proc: Path = PROC) -> int:
    """How many mounts this mount namespace has."""
    with open(proc / "self" / "mountinfo", "rb") as table:
        return sum(1 for _ in table)


def _added(one: Figures, other: Figures) -> Figures:
    return Figures(
        memory_bytes=one.memory_bytes + other.memory_bytes,
        cpu_seconds=round(one.cpu_seconds + other.cpu_seconds, 2),
        descriptors=one.descriptors + other.descriptors,
        processes=one.processes + other.processes,
    )


def _figures(process: Process, seconds: float, proc: Path) -> Figures:
    entry = proc / str(process.pid)
    try:
        memory = int((entry / "statm").read_text().split()[1]) * PAGE
        descriptors = len(os.listdir(entry / "fd"))
    except (OSError, IndexError):  # it ended just now
        memory = descriptors = 0
    return Figures(memory_bytes=memory, cpu_seconds=round(seconds, 2), descriptors=descriptors, processes=1)
