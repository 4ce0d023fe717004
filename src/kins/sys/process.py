"""prctl(2) and what /proc says of a process (proc_pid_stat(5))."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
from pathlib import Path

from kins.sys import libc

PR_SET_PDEATHSIG = 1
PR_SET_NAME = 15
PR_SET_CHILD_SUBREAPER = 36

CAP_SETGID = 6
CAP_SETUID = 7
CAP_NET_ADMIN = 12
CAP_SYS_ADMIN = 21


def _prctl(option: int, argument: int | bytes) -> None:
    value = ctypes.c_char_p(argument) if isinstance(argument, bytes) else ctypes.c_ulong(argument)
    libc.check(libc.library.prctl(option, value, 0, 0, 0), "prctl")


def set_parent_death_signal(number: int) -> None:
    """Have this signal sent to us when our parent thread dies."""
    _prctl(PR_SET_PDEATHSIG, number)


def die_with(parent: int) -> None:
    """In a forked child: be killed when the parent dies, also if it died before we could ask for that."""
    set_parent_death_signal(signal.SIGKILL)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def shell_status(status: int) -> int:
    """What waitpid(2) gives, as a shell says it: 128 and the number for a signal."""
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def set_child_subreaper() -> None:
    """Become the parent of descendants whose own parent dies."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)


def set_name(name: str) -> None:
    """The name of this thread in process lists; 15 bytes are kept."""
    _prctl(PR_SET_NAME, name.encode())


def close_others(kept: set[int]) -> None:
    """Close every descriptor but these."""
    for number in {int(name) for name in os.listdir("/proc/self/fd")} - kept:
        with contextlib.suppress(OSError):  # that of the list itself
            os.close(number)


def _stat_fields(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the state (field 3) on; the name before may hold spaces and parentheses."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def start_time(pid: int) -> int:
    """When a process started, in clock ticks after boot: with the pid it names a process for good. Raises OSError."""
    return int(_stat_fields(pid)[19])


def is_alive(pid: int, started: int) -> bool:
    """Whether that very process runs; a zombie does not."""
    fields = _fields_of_running(pid)
    return fields is not None and int(fields[19]) == started


def is_running(pid: int) -> bool:
    """Whether there is a process with that number; a zombie is none."""
    return _fields_of_running(pid) is not None


def _fields_of_running(pid: int) -> list[str] | None:
    try:
        fields = _stat_fields(pid)
    except OSError:
        return None
    return fields if fields[0] not in "ZX" else None


def boot() -> str:
    """The start of the machine (or sandbox): its random name and its time, or one of them, or neither.

    Two of them are compared by `is_this_boot`. The name alone would not do: in gVisor each procfs makes one of its own
    (pkg/sentry/fsimpl/proc/tasks_sys.go). Nor would the time, which moves when the clock is set (proc_stat(5)).
    """
    return "/".join(filter(None, (_boot_name(), _boot_time())))


def is_this_boot(told: str) -> bool:
    """Whether `boot` said that since the machine's last start, perhaps by another /proc or another clock."""
    now = boot()
    return told == now or bool(set(told.split("/")) & set(now.split("/")) - {""})


def _boot_name() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _boot_time() -> str:
    """The line `btime SECONDS` of /proc/stat."""
    try:
        lines = Path("/proc/stat").read_text().splitlines()
    except OSError:
        return ""
    return next((line for line in lines if line.startswith("btime ")), "")


def effective_capabilities() -> int:
    """The effective capability set as a bit mask (capabilities(7))."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return int(line.split()[1], 16)
    return 0


def has_capability(number: int) -> bool:
    """Whether a capability is effective."""
    return bool(effective_capabilities() >> number & 1)
