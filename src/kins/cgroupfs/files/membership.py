"""Files of every group in version 1: who is in it, and what happens when nobody is (cgroup-v1/cgroups.rst)."""

from __future__ import annotations

import errno

from kins.cgroupfs import processes
from kins.cgroupfs.control_groups import ControlGroups, Writer
from kins.cgroupfs.files import cpuset
from kins.cgroupfs.files.declaration import ControlFile, Where, constant, parse_number, setting, switch
from kins.cgroupfs.model import Group, refusal


def list_processes(groups: ControlGroups, group: Group) -> str:
    """The pids of a group."""
    groups.tracker.refresh()
    groups.tracker.discover()
    return "".join(f"{pid}\n" for pid in groups.tracker.living(group.members))


def list_threads(groups: ControlGroups, group: Group) -> str:
    """The threads of a group's processes."""
    groups.tracker.refresh()
    groups.tracker.discover()
    threads = (thread for pid in groups.tracker.living(group.members) for thread in processes.threads_of(pid))
    return "".join(f"{thread}\n" for thread in sorted(threads))


def move_process(groups: ControlGroups, group: Group, text: str, writer: Writer) -> None:
    """Move the process with a pid; 0 is whoever writes. A thread takes its whole process with it."""
    pid = parse_number(text, 0, 2**31 - 1)
    check_group_takes_processes(groups, group)
    groups.move(group, pid or groups.process_of(writer))


def check_group_takes_processes(groups: ControlGroups, group: Group) -> None:
    """A cpuset without processors or memory takes nobody (cgroup-v1/cpusets.rst, 2.2)."""
    if group.hierarchy.name != "cpuset" or group.is_root:
        return
    if not all(cpuset.effective(groups, group, name) for name in cpuset.NAMES):
        raise refusal(errno.ENOSPC, group.path)


PROCESSES = ControlFile("cgroup.procs", list_processes, move_process)

FILES = (
    switch("cgroup.clone_children"),
    PROCESSES,
    constant("cgroup.sane_behavior", "0\n", Where.ROOT),
    switch("notify_on_release"),
    setting("release_agent", "", Where.ROOT),
    ControlFile("tasks", list_threads, move_process),
)
