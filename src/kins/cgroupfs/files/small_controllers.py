"""pids, freezer, hugetlb, net_cls and perf_event of version 1."""

from __future__ import annotations

import errno

from kins.cgroupfs import figures
from kins.cgroupfs.control_groups import ControlGroups, Writer
from kins.cgroupfs.files.declaration import ControlFile, Where, constant, number, parse_number, stored
from kins.cgroupfs.files.memory import limit_file, nothing
from kins.cgroupfs.model import Group, refusal

# PID_MAX_LIMIT (include/linux/threads.h)
MOST_TASKS = 4 * 1024 * 1024


def read_tasks(groups: ControlGroups, group: Group) -> str:
    """Tasks of a group and of those below it."""
    groups.tracker.refresh()
    return f"{figures.threads(groups.tracker, group.all_members())}\n"


def read_most_tasks(groups: ControlGroups, group: Group) -> str:
    """The most tasks that were seen."""
    groups.tracker.refresh()
    group.remember_peak("tasks", figures.threads(groups.tracker, group.all_members()))
    return f"{group.peaks.get('tasks', 0)}\n"


def write_most(groups: ControlGroups, group: Group, text: str, writer: Writer) -> None:
    """A limit on tasks, or `max`. It is kept: nobody but the kernel can refuse a fork."""
    groups.set(group, "pids.max", None if text == "max" else str(parse_number(text, 0, MOST_TASKS)))


PIDS = (
    ControlFile("pids.current", read_tasks, where=Where.NOT_ROOT),
    constant("pids.events", "max 0\n", Where.NOT_ROOT),
    ControlFile("pids.max", stored("pids.max", "max"), write_most, Where.NOT_ROOT),
    ControlFile("pids.peak", read_most_tasks, where=Where.NOT_ROOT),
)


def read_freezer_state(groups: ControlGroups, group: Group) -> str:
    """FREEZING until every process has stopped (cgroup-v1/freezer-subsystem.rst)."""
    if not groups.frozen(group):
        return "THAWED\n"
    return "FROZEN\n" if groups.is_stopped(group) else "FREEZING\n"


def write_freezer_state(groups: ControlGroups, group: Group, text: str, writer: Writer) -> None:
    """FROZEN or THAWED."""
    if text not in ("FROZEN", "THAWED"):
        raise refusal(errno.EINVAL, text)
    groups.freeze(group, text == "FROZEN")


def read_self_freezing(groups: ControlGroups, group: Group) -> str:
    """Whether the group itself was frozen."""
    return f"{group.settings.get('frozen', '0')}\n"


def read_parent_freezing(groups: ControlGroups, group: Group) -> str:
    """Whether a group above it was."""
    return f"{int(group.parent is not None and groups.frozen(group.parent))}\n"


FREEZER = (
    ControlFile("freezer.parent_freezing", read_parent_freezing, where=Where.NOT_ROOT),
    ControlFile("freezer.self_freezing", read_self_freezing, where=Where.NOT_ROOT),
    ControlFile("freezer.state", read_freezer_state, write_freezer_state, Where.NOT_ROOT),
)


def hugetlb(sizes: list[str]) -> tuple[ControlFile, ...]:
    """The files of each size of huge pages: limits are kept, and nobody tells who uses such pages."""
    found: list[ControlFile] = []
    for prefix in (f"hugetlb.{size}{kind}" for size in sizes for kind in ("", ".rsvd")):
        limit = limit_file(f"{prefix}.limit_in_bytes")
        found += [
            ControlFile(f"{prefix}.failcnt", lambda groups, group: "0\n", nothing),
            ControlFile(limit.name, limit.read, limit.write, Where.NOT_ROOT),
            ControlFile(f"{prefix}.max_usage_in_bytes", lambda groups, group: "0\n", nothing),
            constant(f"{prefix}.usage_in_bytes", "0\n"),
        ]
    return tuple(found)


NET_CLS = (number("net_cls.classid", 0, 0, 2**32 - 1),)
