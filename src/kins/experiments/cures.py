"""What is known to stop a worker in gVisor, and what cures each: by mounts, flags and configuration alone.

The words are those that upstream's programs write; sources are named where they are not obvious.
"""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

from kins.components.layout import BINARIES
from kins.experiments.blockers import Blocker, Cure, Stage
from kins.experiments.worker import Worker
from kins.network import addresses, cni
from kins.plan.files import CreateFile
from kins.plan.kernel import MakeControlGroup
from kins.plan.mounts import BindMount, MountFileSystem, SetPropagation
from kins.sys import netlink

CONTROL_GROUPS = "/sys/fs/cgroup"
# What the kubelet makes for pods. It outlives the mount, so it is journalled.
GROUP = "kubepods"
CONTROLLERS = ("cpu", "cpuacct", "cpuset", "devices", "memory", "pids")
# What the kubelet writes at its start (pkg/kubelet/cm/container_manager_linux.go, setupKernelTunables).
SYSCTLS = {
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
}


def _set(name: str, value: object) -> Cure:
    def apply(worker: Worker) -> None:
        worker.setup.kubelet_settings[name] = value

    return apply


def _containerd(**settings: str) -> Cure:
    def apply(worker: Worker) -> None:
        worker.setup.containerd_settings |= settings

    return apply


def _network(**settings: str) -> Cure:
    def apply(worker: Worker) -> None:
        worker.setup.network_settings |= settings

    return apply


def kernel_messages(worker: Worker) -> None:
    """A file that opens: a device node made by mknod(2) gives ENXIO in gVisor."""
    because = "/dev/kmsg"
    worker.context.execute(
        [
            CreateFile(path="/dev/kmsg", because=because),
            BindMount(source="/dev/null", target="/dev/kmsg", because=because),
        ]
    )


def control_groups(worker: Worker) -> None:
    """The v1 hierarchies that gVisor can mount."""
    because = "control groups"
    worker.context.execute([MountFileSystem(target=CONTROL_GROUPS, kind="tmpfs", options="mode=0755", because=because)])
    for controller in CONTROLLERS:
        # On a file system of the namespace's own: nothing to undo.
        place = Path(CONTROL_GROUPS, controller)
        place.mkdir()
        mount = MountFileSystem(target=str(place), kind="cgroup", source="cgroup", options=controller, because=because)
        group = MakeControlGroup(path=str(place / GROUP), controllers=controller, because=because)
        worker.context.execute([mount, group])


def sysctls(worker: Worker) -> None:
    """An overlay over /proc/sys, with the files that are missing or cannot be written in its upper layer."""
    because = "sysctls"
    place = worker.directory / "proc-sys"
    place.mkdir()
    worker.context.execute([MountFileSystem(target=str(place), kind="tmpfs", because=because)])
    (place / "work").mkdir()
    for name, value in SYSCTLS.items():
        worker.write(str(place / "upper" / name), f"{value}\n")
    options = f"lowerdir=/proc/sys,upperdir={place / 'upper'},workdir={place / 'work'}"
    worker.context.execute([MountFileSystem(target="/proc/sys", kind="overlay", options=options, because=because)])


def usage_per_cpu(worker: Worker) -> None:
    """Let the kubelet alone see cpuacct as a directory of binds, with `cpuacct.usage` also under the missing name."""
    view = (sys.executable, "-P", "-m", "kins.experiments.private_view", str(worker.directory / "cpuacct"))
    worker.setup.kubelet_wrapper = (*view, *worker.setup.kubelet_wrapper)


def pod_network(worker: Worker) -> None:
    """The CNI plugin of kins, and its bridge, which goes with the network namespace."""
    plugins = worker.directory / "cni-plugins"
    shutil.copy(BINARIES / "kins-cni", plugins / "kins-cni")
    data = worker.directory / "addresses"
    data.mkdir(exist_ok=True)
    (worker.directory / "cni" / cni.FILE_NAME).write_text(json.dumps(cni.configuration(data)))
    netlink.create_bridge(addresses.BRIDGE)
    netlink.add_address(addresses.BRIDGE, addresses.with_prefix(addresses.POD_RANGE, 1))
    netlink.set_up(addresses.BRIDGE)


def native_snapshots(worker: Worker) -> None:
    """Copies instead of overlays."""
    worker.setup.snapshotter = "native"


def shared_root(worker: Worker) -> None:
    """Mount events of the root reach what is bound from it."""
    worker.context.execute([SetPropagation(target="/", mode="shared", because="mount propagation")])


def _file(path: str, content: str = "") -> Cure:
    def apply(worker: Worker) -> None:
        worker.context.execute([CreateFile(path=path, content=content, because=path)])

    return apply


def _blocker(name: str, stage: Stage, symptom: str, cure: Cure, treatment: str) -> Blocker:
    return Blocker(name, stage, re.compile(symptom), cure, treatment)


KNOWN = (
    _blocker(
        "control groups version 1",
        "kubelet",
        r"configured to not run on a host using cgroup v1",
        _set("failCgroupV1", False),
        "kubelet setting failCgroupV1: false",
    ),
    _blocker(
        "swap", "kubelet", r"running with swap on", _set("failSwapOn", False), "kubelet setting failSwapOn: false"
    ),
    _blocker(
        "/dev/kmsg",
        "kubelet",
        r"/dev/kmsg: no such file",
        kernel_messages,
        "/dev/null bound over an empty file /dev/kmsg",
    ),
    _blocker(
        "control groups",
        "kubelet",
        r"cgroup (subsystems|mount)|mountpoint for .* not found|[Cc]group.*(no such file|not mounted)",
        control_groups,
        "tmpfs and one cgroup mount per controller below /sys/fs/cgroup",
    ),
    _blocker(
        "kernel settings",
        "kubelet",
        r"/proc/sys/\S+: (no such file|input/output error|permission denied)",
        sysctls,
        "an overlay over /proc/sys with the settings in its upper layer",
    ),
    _blocker(
        "statistics of the root",
        "kubelet",
        r"failed to get rootfs info: unable to find data in memory cache",
        usage_per_cpu,
        "cpuacct.usage bound a second time as cpuacct.usage_percpu, in the kubelet's own view",
    ),
    _blocker(
        "pod network",
        "node",
        r"cni plugin not initialized|NetworkPluginNotReady",
        pod_network,
        "the CNI plugin of kins with its configuration and bridge",
    ),
    _blocker(
        "disk pressure",
        "pod",
        r"condition: \[DiskPressure\]|kubelet has disk pressure",
        _set("evictionHard", {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"}),
        "kubelet setting evictionHard: a disk that is 85 % full, as much of a shared machine's is, is no reason",
    ),
    _blocker(
        "overlay on the root",
        "pod",
        r"failed to mount rootfs component: mount source: \"overlay\"",
        native_snapshots,
        "containerd's native snapshotter, which copies, instead of overlayfs",
    ),
    _blocker(
        "/etc/resolv.conf",
        "pod",
        r"open /etc/resolv.conf: no such file",
        _file("/etc/resolv.conf"),
        "an empty file /etc/resolv.conf",
    ),
    _blocker(
        "/etc/hosts",
        "pod",
        r"open /etc/hosts: no such file",
        _file("/etc/hosts", "127.0.0.1 localhost\n"),
        "a file /etc/hosts",
    ),
    _blocker(
        "loopback plugin",
        "pod",
        r"failed to find plugin \"loopback\"",
        _network(use_internal_loopback="true"),
        "containerd setting use_internal_loopback",
    ),
    _blocker(
        "sysctls of a pod's network",
        "pod",
        r"net[./]ipv4[./](ip_unprivileged_port_start|ping_group_range)",
        _containerd(enable_unprivileged_ports="false", enable_unprivileged_icmp="false"),
        "containerd settings enable_unprivileged_ports and enable_unprivileged_icmp: false",
    ),
    _blocker(
        "oom_score_adj",
        "pod",
        r"oom_score_adj",
        _containerd(restrict_oom_score_adj="true"),
        "containerd setting restrict_oom_score_adj",
    ),
)


def replaced(known: Iterable[Blocker], name: str, cure: Cure, treatment: str) -> dict[str, Blocker]:
    """The known blockers by name, one of them with another cure."""
    found = {each.name: each for each in known}
    found[name] = dataclasses.replace(found[name], cure=cure, treatment=treatment)
    return found
