"""Control groups: what is mounted, what can be mounted, and what the kubelet's statistics need of them."""

from __future__ import annotations

from pathlib import Path

from kins.sandbox.probes.places import directories, private_mounts, tmpfs
from kins.sandbox.probes.table import Values
from kins.sys import mounts

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
    """Controllers of which a v1 hierarchy can be mounted; not asked where hierarchies are mounted already.

    There a mount would take controllers away from the v2 hierarchy for a moment, and nobody needs the answer.
    """
    if control_groups_v1(scratch) or control_groups_v2(scratch):
        return []
    private_mounts()
    place = tmpfs(scratch)
    found = []
    for controller in CONTROLLERS:
        try:
            mounts.mount("cgroup", str(directories(place, controller)[0]), "cgroup", 0, controller)
        except OSError:
            continue
        found.append(controller)
    return found


def control_groups_v2(_: Path) -> tuple[str, list[str]] | None:
    """Where the v2 hierarchy is mounted, and what it controls there."""
    for entry in mounts.mount_table():
        if entry.kind == "cgroup2":
            return entry.target, Path(entry.target, "cgroup.controllers").read_text().split()
    return None


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
