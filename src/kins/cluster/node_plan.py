"""The plan of a node: which steps this sandbox needs, each with the fact or upstream need that asks for it.

Steps are executed inside the node's namespaces, in this order. Those that mount end with the namespace; those that make
directories, files, links, settings and control groups of the sandbox's own are undone from the journal.
"""

from __future__ import annotations

from collections.abc import Iterator

from kins.cgroupfs.control_groups import CONTROLLERS_V1
from kins.cluster.crossing import resolver_steps
from kins.cluster.kubelet_view import hidden_place_steps
from kins.cluster.preparation import control_group_name
from kins.cluster.sandbox_steps import (
    FORWARDING,
    cover_steps,
    hierarchy_steps,
    hosts_file_steps,
    kernel_message_steps,
    namespace_steps,
    setting_files,
    setting_steps,
)
from kins.cluster.spec import Record
from kins.components import Layout, kubelet
from kins.components.cgroupfs import CONTROL_GROUPS
from kins.components.containerd import CONTENT, STATE
from kins.network import addresses
from kins.plan import AnyStep
from kins.plan.files import MakeDirectory
from kins.plan.kernel import AddAddress, AddBridge, MakeControlGroup
from kins.plan.mounts import BindMount, MountFileSystem, SetPropagation
from kins.sandbox import Facts
from kins.sandbox.levels import control_group_layout, image_store_size


def node_steps(files: Layout, record: Record, facts: Facts) -> list[AnyStep]:
    """All steps for a node in a sandbox with these facts."""
    steps = _steps(files, record, facts)
    return [*namespace_steps(), *cover_steps(files.covered, steps, facts), *steps]


def _steps(files: Layout, record: Record, facts: Facts) -> list[AnyStep]:
    return [
        *_sysctls(files, record, facts),
        *_kernel_messages(record, facts),
        *_control_groups(record, facts),
        *_view(files, record),
        *_directories(files, record, facts),
        *hosts_file_steps(facts),
        *resolver_steps(files, record),
        *_links(record),
    ]


def _links(record: Record) -> Iterator[AnyStep]:
    """The pods' bridge. The ranges of Services and of load balancers become local, where the proxy and the DNS server
    bind. Nothing of the kind in a network that may be the sandbox's host's."""
    if record.decisions.pod_network == "shared":
        return
    yield AddBridge(
        name=addresses.BRIDGE,
        address=addresses.with_prefix(addresses.POD_RANGE, 1),
        because="pod network (kins-cni)",
    )
    for network in (addresses.SERVICE_RANGE, addresses.LOAD_BALANCER_RANGE):
        yield AddAddress(link="lo", address=addresses.with_prefix(network, 1), because="addresses of Services")


def _sysctls(files: Layout, record: Record, facts: Facts) -> list[AnyStep]:
    """Where calls are intercepted, the settings' files alone are made, and the calls led to them. Forwarding is meant
    for the kernel in any case, and set before."""
    forwarding = _forwarding(record)
    if record.decisions.kubelet is not None and record.decisions.kubelet.kind == "no-cgroups":
        return forwarding  # its container manager sets none
    if record.decisions.interception:
        return [*forwarding, *setting_files(files.kernel_settings, "interception")]
    return [*forwarding, *setting_steps(files.kernel_settings, facts)]


def _forwarding(record: Record) -> list[AnyStep]:
    """Not where pods share the sandbox's network. Nor in a network of the node's own: in gVisor the file is that of the
    sandbox's network wherever it is seen, and what forwarding is for, the way from pods to Services, is the relay's."""
    needless = record.decisions.pod_network == "shared" or record.decisions.behind_relay
    return [] if needless else [FORWARDING]


def _kernel_messages(record: Record, facts: Facts) -> list[AnyStep]:
    return [] if record.decisions.interception else kernel_message_steps(facts)


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
    steps: list[AnyStep] = []
    for step in hierarchy_steps(facts):
        steps.append(step)
        if isinstance(step, MountFileSystem) and step.kind == "cgroup":
            path = f"{step.target}/{name}"
            steps.append(MakeControlGroup(path=path, controllers=step.options, because=step.because))
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
