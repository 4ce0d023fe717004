"""cpuset of version 1 (cgroup-v1/cpusets.rst). Sets are checked and kept; nobody is bound to processors by them."""

from __future__ import annotations

import errno

from kins.cgroupfs.control_groups import ControlGroups, Writer
from kins.cgroupfs.files.declaration import ControlFile, Where, constant, number, switch
from kins.cgroupfs.machine import format_list, parse_list
from kins.cgroupfs.model import Group, refusal

NAMES = ("cpuset.cpus", "cpuset.mems")
# The kernel's bit maps end somewhere, by its configuration; numbers beyond are another error than missing ones.
MAP_BITS = 256


def online(groups: ControlGroups, name: str) -> frozenset[int]:
    """What the machine has."""
    return groups.processors if name == "cpuset.cpus" else groups.nodes


def effective(groups: ControlGroups, group: Group, name: str) -> frozenset[int]:
    """A group's own set; the root has all, and a new group nothing unless it copies its parent's."""
    if group.is_root:
        return online(groups, name)
    if name not in group.settings and group.parent is not None:
        if group.parent.settings.get("cgroup.clone_children") == "1":
            return effective(groups, group.parent, name)
        return frozenset()
    return parse_list(group.settings[name])


def member_file(name: str) -> ControlFile:
    """cpuset.cpus or cpuset.mems."""

    def read(groups: ControlGroups, group: Group) -> str:
        return f"{format_list(effective(groups, group, name))}\n"

    def write(groups: ControlGroups, group: Group, text: str, writer: Writer) -> None:
        wanted = parse(text)
        if group.is_root:
            raise refusal(errno.EACCES, name)
        if not wanted <= online(groups, name):
            raise refusal(errno.ERANGE if max(wanted) >= MAP_BITS else errno.EINVAL, text)
        check_neighbours(groups, group, name, wanted)
        groups.set(group, name, format_list(wanted))

    return ControlFile(name, read, write)


def parse(text: str) -> frozenset[int]:
    """A set in list format. Raises OSError (EINVAL)."""
    try:
        return parse_list(text)
    except ValueError:
        raise refusal(errno.EINVAL, text) from None


def check_neighbours(groups: ControlGroups, group: Group, name: str, wanted: frozenset[int]) -> None:
    """A set lies within the parent's and holds the children's (kernel/cgroup/cpuset-v1.c, validate_change)."""
    if any(not effective(groups, child, name) <= wanted for child in group.children.values()):
        raise refusal(errno.EBUSY, name)
    if group.parent is not None and not wanted <= effective(groups, group.parent, name):
        raise refusal(errno.EACCES, name)
    if not wanted and group.members:
        raise refusal(errno.ENOSPC, name)


def effective_file(name: str, of: str) -> ControlFile:
    """What is left of a set; here nothing is taken from it."""
    return ControlFile(name, lambda groups, group: f"{format_list(effective(groups, group, of))}\n")


FILES = (
    switch("cpuset.cpu_exclusive"),
    member_file("cpuset.cpus"),
    effective_file("cpuset.effective_cpus", "cpuset.cpus"),
    effective_file("cpuset.effective_mems", "cpuset.mems"),
    switch("cpuset.mem_exclusive"),
    switch("cpuset.mem_hardwall"),
    switch("cpuset.memory_migrate"),
    constant("cpuset.memory_pressure", "0\n"),
    switch("cpuset.memory_pressure_enabled", where=Where.ROOT),
    switch("cpuset.memory_spread_page"),
    switch("cpuset.memory_spread_slab"),
    member_file("cpuset.mems"),
    switch("cpuset.sched_load_balance", 1),
    number("cpuset.sched_relax_domain_level", -1, -1, 5),
)
