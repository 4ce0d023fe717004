"""Version 2 (admin-guide/cgroup-v2.rst): the files of every group. Threaded groups and pressure figures are not here:
a thread cannot be apart from its process, and only the kernel knows who waits."""

from __future__ import annotations

import errno
from collections.abc import Iterable

from kins.cgroupfs import figures
from kins.cgroupfs.control_groups import ControlGroups, Writer
from kins.cgroupfs.files.declaration import (
    SUBTREE_CONTROL,
    ControlFile,
    Read,
    Where,
    Write,
    controllers_of,
    parse_number,
    stored,
    table,
)
from kins.cgroupfs.files.membership import list_processes, list_threads
from kins.cgroupfs.model import Group, refusal

MOST_GROUPS = 2**31 - 1


def move_process(groups: ControlGroups, group: Group, text: str, writer: Writer) -> None:
    """Move a process; a group that passes controllers on has none of its own ("no internal process constraint")."""
    pid = parse_number(text, 0, 2**31 - 1)
    if not group.is_root and group.settings.get(SUBTREE_CONTROL):
        raise refusal(errno.EBUSY, group.path)
    groups.move(group, pid or groups.process_of(writer))


def move_thread(groups: ControlGroups, group: Group, text: str, writer: Writer) -> None:
    """Threads of one process cannot be in two groups that are no threaded ones."""
    pid = parse_number(text, 0, 2**31 - 1) or writer.thread
    process = groups.tracker.process(pid)
    if process is None:
        raise refusal(errno.ESRCH, text)
    if process.groups[group.hierarchy.name] is not group:
        raise refusal(errno.EOPNOTSUPP, text)


def read_controllers(groups: ControlGroups, group: Group) -> str:
    """What can be enabled for the groups below."""
    return line(controllers_of(group))


def read_subtree_control(groups: ControlGroups, group: Group) -> str:
    """What is enabled for the groups below."""
    return line(group.settings.get(SUBTREE_CONTROL, "").split())


def line(words: Iterable[str]) -> str:
    """Words in a line, or no line at all."""
    text = " ".join(words)
    return f"{text}\n" if text else ""


def write_subtree_control(groups: ControlGroups, group: Group, text: str, writer: Writer) -> None:
    """`+memory -cpu`: all of it or nothing."""
    enabled = set(group.settings.get(SUBTREE_CONTROL, "").split())
    wanted = set(enabled)
    for word in text.split():
        sign, name = word[:1], word[1:]
        if sign not in "+-" or name not in group.hierarchy.controllers:
            raise refusal(errno.EINVAL, word)
        if sign == "+" and name not in controllers_of(group):
            raise refusal(errno.ENOENT, word)
        wanted = wanted | {name} if sign == "+" else wanted - {name}
    passed_on = {name for child in group.children.values() for name in child.settings.get(SUBTREE_CONTROL, "").split()}
    if (enabled - wanted) & passed_on:
        raise refusal(errno.EBUSY, text)
    groups.tracker.refresh()
    if wanted - enabled and not group.is_root and groups.tracker.living(group.members):
        raise refusal(errno.EBUSY, text)
    kept = " ".join(name for name in group.hierarchy.controllers if name in wanted)
    groups.set(group, SUBTREE_CONTROL, kept or None)


def write_type(groups: ControlGroups, group: Group, text: str, writer: Writer) -> None:
    """Only `threaded` can be written to the kernel's file, and there are no such groups here."""
    raise refusal(errno.EOPNOTSUPP if text == "threaded" else errno.EINVAL, text)


def read_events(groups: ControlGroups, group: Group) -> str:
    """Whether any process is in the group or below it, and whether all of them have stopped."""
    groups.tracker.refresh()
    populated = bool(groups.tracker.living(group.all_members()))
    frozen = groups.frozen(group) and groups.is_stopped(group)
    return table({"populated": int(populated), "frozen": int(frozen)})


def write_freeze(groups: ControlGroups, group: Group, text: str, writer: Writer) -> None:
    """0 or 1."""
    value = parse_number(text, -(2**31), 2**31 - 1)
    if value not in (0, 1):
        raise refusal(errno.ERANGE, text)
    groups.freeze(group, value == 1)


def write_kill(groups: ControlGroups, group: Group, text: str, writer: Writer) -> None:
    """1 kills all of the subtree."""
    if parse_number(text, -(2**31), 2**31 - 1) != 1:
        raise refusal(errno.ERANGE, text)
    groups.kill(group)


def read_stat(groups: ControlGroups, group: Group) -> str:
    """How many groups are below; none of them is dying."""
    return table({"nr_descendants": sum(1 for _ in group.subtree()) - 1, "nr_dying_descendants": 0})


def limit(name: str, maximum: int, default: str = "max", outside: int = errno.ERANGE) -> tuple[Read, Write]:
    """A count or `max`."""

    def write(groups: ControlGroups, group: Group, text: str, writer: Writer) -> None:
        if text == "max":
            groups.set(group, name, None if default == "max" else text)
            return
        value = parse_number(text, -(2**63))
        if not 0 <= value <= maximum:
            raise refusal(outside, text)
        groups.set(group, name, str(value))

    return stored(name, default), write


def read_cpu_stat(groups: ControlGroups, group: Group) -> str:
    """Microseconds; without the controller too. Nobody is throttled here."""
    groups.tracker.refresh()
    times = figures.processor_times(group)
    user, system = (sum(part) // 1000 for part in ([each.user for each in times], [each.system for each in times]))
    rows = {"usage_usec": user + system, "user_usec": user, "system_usec": system, "nice_usec": 0}
    if not group.is_root and "cpu" in controllers_of(group):
        names = ("nr_periods", "nr_throttled", "throttled_usec", "nr_bursts", "burst_usec")
        rows |= dict.fromkeys(names, 0)
    return table(rows)


def read_cpu_stat_local(groups: ControlGroups, group: Group) -> str:
    """What was throttled by the group's own limit."""
    return "throttled_usec 0\n" if not group.is_root and "cpu" in controllers_of(group) else ""


CORE = (
    ControlFile("cgroup.controllers", read_controllers),
    ControlFile("cgroup.events", read_events, where=Where.NOT_ROOT),
    ControlFile("cgroup.freeze", stored("frozen", "0"), write_freeze, Where.NOT_ROOT),
    ControlFile("cgroup.kill", None, write_kill, Where.NOT_ROOT),
    ControlFile("cgroup.max.depth", *limit("cgroup.max.depth", MOST_GROUPS)),
    ControlFile("cgroup.max.descendants", *limit("cgroup.max.descendants", MOST_GROUPS)),
    ControlFile("cgroup.procs", list_processes, move_process),
    ControlFile("cgroup.stat", read_stat),
    ControlFile(SUBTREE_CONTROL, read_subtree_control, write_subtree_control),
    ControlFile("cgroup.threads", list_threads, move_thread),
    ControlFile("cgroup.type", lambda groups, group: "domain\n", write_type, Where.NOT_ROOT),
    ControlFile("cpu.stat", read_cpu_stat),
    ControlFile("cpu.stat.local", read_cpu_stat_local),
)
