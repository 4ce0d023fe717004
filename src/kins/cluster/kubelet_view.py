"""What a stock kubelet sees of the control groups where `cpuacct.usage_percpu` is missing.

cAdvisor reads that file of the root group, and without it drops the whole sample ("failed to get rootfs info: unable to
find data in memory cache"). No file can be made in a control group, but one can be bound where it should be: in a tmpfs
that takes the place of the hierarchy's root, in a mount namespace that only the kubelet has. Everybody else, runc above
all, makes groups in the real hierarchy.
"""

from __future__ import annotations

from kins.components import Layout
from kins.plan import AnyStep
from kins.plan.files import CreateFile, MakeDirectory
from kins.plan.mounts import BindMount, MountFileSystem, SetPropagation, Unmount

HIERARCHY = "/sys/fs/cgroup/cpuacct"
# What cAdvisor and the kubelet read of the root group (github.com/opencontainers/cgroups, fs/cpuacct.go).
FILES = ("cgroup.procs", "tasks", "cpuacct.stat", "cpuacct.usage")
# Of one CPU, as it were: cAdvisor adds up the numbers that it finds.
USAGE, USAGE_PER_CPU = "cpuacct.usage", "cpuacct.usage_percpu"
BECAUSE = "usage_per_cpu"


def hidden_place(files: Layout) -> str:
    """Where the real hierarchy is seen for a moment: a private mount, because others must not see it."""
    return str(files.runtime / "cpuacct")


def hidden_place_steps(files: Layout) -> list[AnyStep]:
    """The node's part: they precede the kubelet's own namespace."""
    place = hidden_place(files)
    return [
        MakeDirectory(path=place, because=BECAUSE),
        MountFileSystem(target=place, kind="tmpfs", private=True, because=BECAUSE),
        MakeDirectory(path=f"{place}/real", because=BECAUSE),
    ]


def kubelet_view(files: Layout, group: str) -> list[AnyStep]:
    """The steps in the kubelet's own mount namespace. `group` is the cluster's control group, which stays the real one,
    so that pods' groups are made and removed there."""
    real = f"{hidden_place(files)}/real"
    steps: list[AnyStep] = [
        SetPropagation(target="/sys", mode="private", because=BECAUSE),
        BindMount(source=HIERARCHY, target=real, because=BECAUSE),
        MountFileSystem(target=HIERARCHY, kind="tmpfs", options="mode=0755", private=True, because=BECAUSE),
    ]
    for source, name in (*((name, name) for name in FILES), (USAGE, USAGE_PER_CPU)):
        steps.append(CreateFile(path=f"{HIERARCHY}/{name}", because=BECAUSE))
        steps.append(BindMount(source=f"{real}/{source}", target=f"{HIERARCHY}/{name}", because=BECAUSE))
    steps.append(MakeDirectory(path=f"{HIERARCHY}/{group}", because=BECAUSE))
    steps.append(BindMount(source=f"{real}/{group}", target=f"{HIERARCHY}/{group}", because=BECAUSE))
    # A second mount of the hierarchy would be taken for its place by those who look for it in the mount table. The
    # tmpfs around it stays: its parent is shared, so it would go from the node's namespace too, where the next start of
    # the kubelet needs it.
    steps.append(Unmount(target=real, because=BECAUSE))
    return steps
