"""cpu and cpuacct of version 1 (scheduler/sched-bwc.rst, cgroup-v1/cpuacct.rst). Limits are kept, not enforced."""

from __future__ import annotations

import errno
from collections.abc import Callable

from kins.cgroupfs import figures
from kins.cgroupfs.control_groups import ControlGroups, Writer
from kins.cgroupfs.files.declaration import (
    ControlFile,
    Where,
    constant,
    number,
    parse_number,
    stored,
    switch,
    table,
)
from kins.cgroupfs.machine import ProcessorTime
from kins.cgroupfs.model import Group, refusal
from kins.cgroupfs.processes import NANOSECONDS_PER_TICK

# kernel/sched/core.c
SHARES_MINIMUM, SHARES_MAXIMUM, SHARES_DEFAULT = 2, 1 << 18, 1024
PERIOD_MINIMUM, PERIOD_MAXIMUM, PERIOD_DEFAULT = 1_000, 1_000_000, 100_000
QUOTA_MINIMUM = 1_000
UNLIMITED = -1


def write_shares(groups: ControlGroups, group: Group, text: str, writer: Writer) -> None:
    """Shares are brought within their bounds, which runc reads back; the root's are fixed."""
    if group.is_root:
        raise refusal(errno.EINVAL, text)
    value = min(max(parse_number(text), SHARES_MINIMUM), SHARES_MAXIMUM)
    groups.set(group, "cpu.shares", str(value))


def period_of(group: Group) -> int:
    """The period of a group, in microseconds."""
    return int(group.settings.get("cpu.cfs_period_us", PERIOD_DEFAULT))


def quota_of(group: Group) -> int:
    """The quota of a group in each period, in microseconds."""
    return int(group.settings.get("cpu.cfs_quota_us", UNLIMITED))


def write_period(groups: ControlGroups, group: Group, text: str, writer: Writer) -> None:
    """The period of the quota."""
    set_bandwidth(groups, group, quota_of(group), parse_number(text))


def write_quota(groups: ControlGroups, group: Group, text: str, writer: Writer) -> None:
    """The quota; any negative number means none."""
    set_bandwidth(groups, group, max(parse_number(text, -(2**63)), UNLIMITED), period_of(group))


def set_bandwidth(groups: ControlGroups, group: Group, quota: int, period: int) -> None:
    """Check both together, as tg_set_cfs_bandwidth() does: a group may not have more than those above it."""
    if group.is_root or not PERIOD_MINIMUM <= period <= PERIOD_MAXIMUM:
        raise refusal(errno.EINVAL)
    if quota != UNLIMITED and quota < QUOTA_MINIMUM:
        raise refusal(errno.EINVAL)
    above = next((each for each in group.ancestors() if each is not group and quota_of(each) != UNLIMITED), None)
    if quota != UNLIMITED and above is not None and quota * period_of(above) > quota_of(above) * period:
        raise refusal(errno.EINVAL)
    groups.set(group, "cpu.cfs_quota_us", str(quota))
    groups.set(group, "cpu.cfs_period_us", str(period))


CPU = (
    number("cpu.cfs_burst_us", 0, 0, 2**63 // 1000, Where.NOT_ROOT),
    ControlFile("cpu.cfs_period_us", stored("cpu.cfs_period_us", str(PERIOD_DEFAULT)), write_period),
    ControlFile("cpu.cfs_quota_us", stored("cpu.cfs_quota_us", str(UNLIMITED)), write_quota),
    switch("cpu.idle"),
    number("cpu.rt_period_us", 1_000_000, 1, 2**32),
    number("cpu.rt_runtime_us", 0, -1, 2**32),
    ControlFile("cpu.shares", stored("cpu.shares", str(SHARES_DEFAULT)), write_shares),
    # Nothing throttles here.
    constant("cpu.stat", "nr_periods 0\nnr_throttled 0\nthrottled_time 0\nnr_bursts 0\nburst_time 0\n"),
    constant("cpu.stat.local", "throttled_time 0\n"),
)


def times(groups: ControlGroups, group: Group) -> list[ProcessorTime]:
    """What each processor has worked for a group, after a look at /proc."""
    groups.tracker.refresh()
    return figures.processor_times(group)


def whole(part: Callable[[ProcessorTime], int]) -> Callable[[ControlGroups, Group], str]:
    """The sum of all processors."""
    return lambda groups, group: f"{sum(part(each) for each in times(groups, group))}\n"


def by_processor(part: Callable[[ProcessorTime], int]) -> Callable[[ControlGroups, Group], str]:
    """Each processor, with the space at the end that the kernel writes."""
    return lambda groups, group: "".join(f"{part(each)} " for each in times(groups, group)) + "\n"


def read_stat(groups: ControlGroups, group: Group) -> str:
    """User and system time in clock ticks."""
    found = times(groups, group)
    user, system = sum(each.user for each in found), sum(each.system for each in found)
    return table({"user": user // NANOSECONDS_PER_TICK, "system": system // NANOSECONDS_PER_TICK})


def read_all(groups: ControlGroups, group: Group) -> str:
    """A line for each processor."""
    rows = (f"{index} {each.user} {each.system}\n" for index, each in enumerate(times(groups, group)))
    return "cpu user system\n" + "".join(rows)


def reset_usage(groups: ControlGroups, group: Group, text: str, writer: Writer) -> None:
    """Only 0 can be written: it begins anew."""
    if parse_number(text) != 0:
        raise refusal(errno.EINVAL, text)
    groups.tracker.refresh(0)
    for each in group.subtree():
        each.usage.user.clear()
        each.usage.system.clear()
    groups.fold()


CPUACCT = (
    ControlFile("cpuacct.stat", read_stat),
    ControlFile("cpuacct.usage", whole(lambda time: time.total), reset_usage),
    ControlFile("cpuacct.usage_all", read_all),
    ControlFile("cpuacct.usage_percpu", by_processor(lambda time: time.total)),
    ControlFile("cpuacct.usage_percpu_sys", by_processor(lambda time: time.system)),
    ControlFile("cpuacct.usage_percpu_user", by_processor(lambda time: time.user)),
    ControlFile("cpuacct.usage_sys", whole(lambda time: time.system)),
    ControlFile("cpuacct.usage_user", whole(lambda time: time.user)),
)
