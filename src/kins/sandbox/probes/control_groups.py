"""Control groups: what is mounted, what can be mounted, and what the kubelet's statistics need of them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from kins.sandbox.probes.places import directories, private_mounts, tmpfs
from kins.sandbox.probes.table import Answers, Several, Values
from kins.sys import mounts, process

CONTROLLERS = (
    "cpu",
    "cpuacct",
    "cpuset",
    "devices",
    "memory",
    "pids",
    "blkio",
    "freezer",
    "hugetlb",
    "net_cls",
    "perf_event",
)


def control_groups_v1(_: Path) -> dict[str, list[str]]:
    """Mounted v1 hierarchies with their controllers, which stand among the super block's options."""
    found = {}
    for entry in mounts.mount_table():
        if entry.kind == "cgroup":
            options = entry.super_options.split(",")
            found[entry.target] = [option for option in options if option in CONTROLLERS or option.startswith("name=")]
    return found


def control_groups_v1_mountable(scratch: Path) -> list[str]:
    """Controllers of which a v1 hierarchy can be mounted and groups made in it; not asked where hierarchies are mounted
    already.

    There a mount would take controllers away from the v2 hierarchy for a moment, and nobody needs the answer. No group
    is made: it would outlive a probe that is killed, in a hierarchy that nobody sees.
    """
    if control_groups_v1(scratch) or control_groups_v2(scratch):
        return []
    private_mounts()
    place = tmpfs(scratch)
    found = []
    for controller in CONTROLLERS:
        (hierarchy,) = directories(place, controller)
        try:
            mounts.mount("cgroup", str(hierarchy), "cgroup", 0, controller)
        except OSError:
            continue
        if os.access(hierarchy, os.W_OK):
            found.append(controller)
    return found


def control_groups_v2(_: Path) -> tuple[str, list[str]] | None:
    """Where the v2 hierarchy is mounted, and what it controls there."""
    for entry in mounts.mount_table():
        if entry.kind == "cgroup2":
            return entry.target, Path(entry.target, "cgroup.controllers").read_text().split()
    return None


def unified(scratch: Path) -> dict[str, object]:
    """The v2 hierarchy as facts."""
    mounted, controllers = control_groups_v2(scratch) or (None, [])
    return {"control_groups_v2": mounted, "control_groups_v2_controllers": controllers}


def no_unified(_: str) -> dict[str, object]:
    """What counts where that could not be found out."""
    return {"control_groups_v2": None, "control_groups_v2_controllers": []}


def control_group_creation(scratch: Path) -> None:
    """A group in each hierarchy that is mounted: in a container they may be there to be read only."""
    found = control_groups_v2(scratch)
    for place in (*control_groups_v1(scratch), *([found[0]] if found else [])):
        with _group(Path(place)):
            pass


def control_group_delegation(scratch: Path) -> None:
    """A group in the v2 hierarchy that hands its controllers on to one of its own, in which a process lives."""
    found = control_groups_v2(scratch)
    if found is None:
        raise FileNotFoundError("no v2 hierarchy is mounted")
    with _group(Path(found[0])) as group:
        controllers = (group / "cgroup.controllers").read_text().split()
        if not controllers:
            raise OSError("a new group in the v2 hierarchy gets no controllers")
        (group / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in controllers))
        with _group(group) as below:
            _live_in(below)


def _live_in(group: Path) -> None:
    """Have a process move into a group and end there. Raises OSError."""
    child = os.fork()
    if child == 0:
        try:
            (group / "cgroup.procs").write_text("0")
        except OSError as error:
            os._exit(error.errno or 1)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code:
        raise OSError(code, f"moving a process into a group: {os.strerror(abs(code))}")


@contextlib.contextmanager
def _group(place: Path) -> Iterator[Path]:
    """A group for a moment. Groups outlive processes: those of probes that were killed are removed first."""
    for left in place.glob("kins-probe-*"):
        pid = left.name.rpartition("-")[2]
        if pid.isdecimal() and not process.is_running(int(pid)):
            for each in (*left.glob("kins-probe-*"), left):
                each.rmdir()
    group = place / f"kins-probe-{os.getpid()}"
    try:
        group.mkdir()
    except OSError as error:
        error.filename = str(place)  # each time the same word
        raise
    try:
        yield group
    finally:
        group.rmdir()


def usage_per_cpu(scratch: Path) -> bool:
    """Whether the cpuacct controller has the per-cpu file, in a mounted or a fresh hierarchy."""
    for target, controllers in control_groups_v1(scratch).items():
        if "cpuacct" in controllers:
            return Path(target, "cpuacct.usage_percpu").exists()
    private_mounts()
    place = directories(tmpfs(scratch), "cpuacct")[0]
    mounts.mount("cgroup", str(place), "cgroup", 0, "cpuacct")
    return (place / "cpuacct.usage_percpu").exists()


VALUES: Values = {
    "control_groups_v1": (control_groups_v1, {}),
    "control_groups_v1_mountable": (control_groups_v1_mountable, []),
    "usage_per_cpu": (usage_per_cpu, False),
}
ANSWERS: Answers = {
    "control_group_creation": control_group_creation,
    "control_group_delegation": control_group_delegation,
}
SEVERAL: Several = {"control_groups_v2": (unified, no_unified)}
