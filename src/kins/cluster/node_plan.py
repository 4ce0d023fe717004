"""The plan of a node: which steps this sandbox needs, each with the fact or upstream need that asks for it.

Steps are executed inside the node's namespaces, in this order. Those that mount end with the namespace; those that make
directories, files, links, settings and control groups of the sandbox's own are undone from the journal.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from kins.cgroupfs.control_groups import CONTROLLERS_V1
from kins.cluster.kubelet_view import hidden_place_steps
from kins.cluster.preparation import control_group_name
from kins.cluster.spec import Record
from kins.components import Layout, kubelet
from kins.components.cgroupfs import CONTROL_GROUPS
from kins.components.containerd import CONTENT, STATE
from kins.network import addresses
from kins.plan import AnyStep
from kins.plan.files import CreateFile, MakeDirectory
from kins.plan.kernel import AddAddress, AddBridge, MakeControlGroup, SetSysctl
from kins.plan.mounts import BindMount, MountFileSystem, SetPropagation
from kins.sandbox import Facts
from kins.sandbox.levels import control_group_layout, image_store_size

FORWARDING = "net/ipv4/ip_forward"


def node_steps(files: Layout, record: Record, facts: Facts) -> list[AnyStep]:
    """All steps for a node in a sandbox with these facts."""
    return [
        *_namespaces(),
        *_sysctls(files, record, facts),
        *_kernel_messages(record, facts),
        *_control_groups(record, facts),
        *_view(files, record),
        *_directories(files, record, facts),
        *_hosts_file(facts),
        AddBridge(
            name=addresses.BRIDGE,
            address=addresses.with_prefix(addresses.POD_RANGE, 1),
            because="pod network (kins-cni)",
        ),
        *_service_addresses(),
    ]


def _service_addresses() -> Iterator[AnyStep]:
    """The ranges of Services and of load balancers become local, where the proxy and the DNS server bind."""
    for network in (addresses.SERVICE_RANGE, addresses.LOAD_BALANCER_RANGE):
        yield AddAddress(link="lo", address=addresses.with_prefix(network, 1), because="addresses of Services")


def _namespaces() -> list[AnyStep]:
    because = "namespaces"
    return [
        # Cut off from the outside first, or the node's mounts would appear there.
        SetPropagation(target="/", mode="private", because=because),
        SetPropagation(target="/", mode="shared", because="mount propagation into containers (kubelet)"),
        MountFileSystem(target="/proc", kind="proc", source="proc", because=because),
    ]


def _sysctls(files: Layout, record: Record, facts: Facts) -> list[AnyStep]:
    """Set what is there; where files are missing or refuse to be written, put an overlay over all of /proc/sys.

    Where calls are intercepted, its files alone are made, and the calls led to them. Forwarding is meant for the kernel
    in any case, and set before.
    """
    forwarding = SetSysctl(name=FORWARDING, value="1", because="pod network")
    if record.decisions.kubelet is not None and record.decisions.kubelet.kind == "no-cgroups":
        return [forwarding]  # its container manager sets none
    if record.decisions.interception:
        return [forwarding, *_settings_files(files.kernel_settings, "interception")]
    answers = [facts.sysctls[name] for name in kubelet.SYSCTLS]
    if all(answer.value is not None and answer.writable for answer in answers):
        wanted = kubelet.SYSCTLS.items()
        return [forwarding, *(SetSysctl(name=name, value=value, because="kubelet") for name, value in wanted)]
    place, because = files.kernel_settings, "sysctls"
    options = f"lowerdir=/proc/sys,upperdir={place / 'upper'},workdir={place / 'work'}"
    return [
        forwarding,
        MakeDirectory(path=str(place), because=because),
        MountFileSystem(target=str(place), kind="tmpfs", options="mode=0755", because=because),
        MakeDirectory(path=str(place / "work"), because=because),
        *_settings_files(place / "upper", because),
        MountFileSystem(target="/proc/sys", kind="overlay", options=options, because="overlay_on_proc_sys"),
    ]


def _settings_files(place: Path, because: str) -> Iterator[AnyStep]:
    """The kubelet's settings as files below a directory, as they lie below /proc/sys."""
    for name, value in kubelet.SYSCTLS.items():
        file = place / name
        yield MakeDirectory(path=str(file.parent), because=because)
        yield CreateFile(path=str(file), content=f"{value}\n", because=because)


def _kernel_messages(record: Record, facts: Facts) -> list[AnyStep]:
    if facts.kernel_messages.works or record.decisions.interception:
        return []
    # A node made by mknod can be made in gVisor, but opening it gives ENXIO; /dev/null bound over a file opens.
    return [
        CreateFile(path="/dev/kmsg", because="kernel_messages"),
        BindMount(source="/dev/null", target="/dev/kmsg", because="kernel_messages"),
    ]


def _control_groups(record: Record, facts: Facts) -> list[AnyStep]:
    if record.decisions.control_groups == "emulated":
        return []
    name = control_group_name(record)
    layout = control_group_layout(facts)
    if layout == "v2":
        return [MakeControlGroup(path=f"{facts.control_groups_v2}/{name}", because="control_groups_v2")]
    if layout == "v1":
        # runc makes groups in a version 2 hierarchy beside them too, if there is one.
        unified = [facts.control_groups_v2] if facts.control_groups_v2 is not None else []
        places = [*facts.control_groups_v1, *unified]
        return [MakeControlGroup(path=f"{place}/{name}", because="control_groups_v1") for place in places]
    because = "control_groups_v1_mountable"
    steps: list[AnyStep] = [MountFileSystem(target=CONTROL_GROUPS, kind="tmpfs", options="mode=0755", because=because)]
    for controller in facts.control_groups_v1_mountable:
        place = f"{CONTROL_GROUPS}/{controller}"
        steps += [
            MakeDirectory(path=place, because=because),
            MountFileSystem(target=place, kind="cgroup", source="cgroup", options=controller, because=because),
            MakeControlGroup(path=f"{place}/{name}", controllers=controller, because=because),
        ]
    return steps


def _view(files: Layout, record: Record) -> list[AnyStep]:
    view = record.decisions.kubelet is not None and record.decisions.kubelet.view
    return hidden_place_steps(files) if view else []


def emulated_control_group_steps(record: Record) -> list[AnyStep]:
    """The node's own group in each hierarchy, once they are served: the kubelet ends without its root."""
    path = f"{CONTROL_GROUPS}/{{}}/{control_group_name(record)}"
    return [MakeDirectory(path=path.format(name), because="control_groups") for name in CONTROLLERS_V1]


def _directories(files: Layout, record: Record, facts: Facts) -> list[AnyStep]:
    """The directories that upstream's software and charts expect, seen from inside only.

    containerd's own two are private mounts: in shared ones its temporary mounts cannot be unmounted in gVisor
    ("failed to unmount target …/tmpmounts").
    """
    targets = (kubelet.ROOT, "/var/log/pods", "/var/log/containers", "/var/lib/cni", "/run/mount", STATE)
    steps: list[AnyStep] = [MakeDirectory(path=target, because="kubelet and containerd") for target in targets]
    steps += [
        BindMount(source=str(files.kubelet_root), target=kubelet.ROOT, because="kubelet"),
        SetPropagation(target=kubelet.ROOT, mode="shared", because="mount propagation into containers (kubelet)"),
        BindMount(source=str(files.pod_logs), target="/var/log/pods", because="kubelet"),
        MountFileSystem(target="/var/log/containers", kind="tmpfs", because="kubelet"),
        MountFileSystem(target="/var/lib/cni", kind="tmpfs", because="containerd"),
        MountFileSystem(target="/run/mount", kind="tmpfs", because="programs (mount keeps its own table there)"),
        MountFileSystem(target=STATE, kind="tmpfs", options="mode=0711", private=True, because="containerd"),
    ]
    root = str(files.containerd_root)
    if record.decisions.images_on == "tmpfs":
        size = f"size={image_store_size(facts)},mode=0711"
        because = "overlay_on_data"
        content = f"{root}/{CONTENT}"
        return [
            *steps,
            MountFileSystem(target=root, kind="tmpfs", options=size, private=True, because=because),
            # Compressed layers need no overlay: only what they are unpacked to is in memory.
            MakeDirectory(path=content, because=because),
            BindMount(source=str(files.image_content), target=content, because=because),
        ]
    return [*steps, BindMount(source=root, target=root, because="containerd")]


def _hosts_file(facts: Facts) -> list[AnyStep]:
    if facts.has_hosts_file:
        return []
    return [CreateFile(path="/etc/hosts", content="127.0.0.1 localhost\n", because="has_hosts_file")]
