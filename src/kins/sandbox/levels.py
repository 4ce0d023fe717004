"""From facts to the level that the sandbox carries, and to how each need of a node is met. Pure functions."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Literal

import msgspec

from kins.sandbox.facts import Facts
from kins.sandbox.probes.settings import WRITTEN_BY_THE_KUBELET
from kins.sys.user_namespaces import IDENTITIES

# What the kubelet's container manager asks for (pkg/kubelet/cm/container_manager_linux.go,
# validateSystemRequirements) and what its pods' limits need.
REQUIRED_V1 = ("cpu", "cpuacct", "cpuset", "memory", "pids")
REQUIRED_V2 = ("cpu", "cpuset", "memory", "pids")
CONTROL_GROUP_FACTS = ("control_groups", "control_group_creation")


class Lack(msgspec.Struct, frozen=True, kw_only=True):
    """A fact that forbids a level: the kernel's word, what follows, and what would give it."""

    fact: str
    cause: str
    consequence: str
    hint: str


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """The best level, and what keeps a better one away."""

    level: Literal["node", "fake", "control-plane"]
    lacks: tuple[Lack, ...] = ()


PRIVILEGE = "run the sandbox as root with CAP_SYS_ADMIN, or allow user namespaces in it"
# For each answer that a node cannot do without: what follows from a no, and what would turn it into a yes.
NEEDS = {
    "namespaces": (
        "a node lives in mount, pid, ipc and uts namespaces of its own",
        PRIVILEGE,
    ),
    "mounts": ("volumes and containers are mounts", PRIVILEGE),
    "unix_sockets": (
        "the kubelet and containerd talk over unix sockets",
        "set KINS_HOME to a directory on another file system",
    ),
    "pod_network": (
        "pods need network namespaces, joined by veths and a bridge",
        "give the sandbox a network of its own and CAP_NET_ADMIN (gVisor: --network=sandbox or none, not host)",
    ),
}


def choose(facts: Facts, ranges: tuple[str, ...] = (), *, emulated_control_groups: bool = False) -> Choice:
    """The best level that these facts allow: simulated nodes ask nothing of the kernel. `ranges` are the address ranges
    that a real node wants for itself; `emulated_control_groups` says that those are asked for, whatever FUSE does."""
    uncured = _uncured(facts, emulated_control_groups=emulated_control_groups or facts.fuse.works)
    lacks = [*_answers(facts), *uncured, *_ranges(facts, ranges)]
    return Choice(level="fake" if lacks else "node", lacks=tuple(lacks))


def needs_tracer(facts: Facts) -> bool:
    """Whether a node's software runs under the tracer, because no mount cures what some fact lacks."""
    return bool(_beyond_mounts(facts))


def needs_emulated_control_groups(facts: Facts) -> bool:
    """Whether the kernel has no control groups for a node, so that the tracer leads to emulated ones."""
    return bool(_control_groups(facts))


def has_identities(facts: Facts) -> bool:
    """Whether files and processes of containers can have an owner of their own; by `identities`."""
    return facts.identities >= IDENTITIES


def settings_are_there(facts: Facts) -> bool:
    """Whether the kubelet finds each setting and can write it."""
    return all(
        (found := facts.sysctls.get(name)) is not None and found.value is not None and bool(found.writable)
        for name in WRITTEN_BY_THE_KUBELET
    )


def mounts_give_settings(facts: Facts) -> bool:
    """Whether the kubelet can write them, be it to an overlay that hides the kernel's."""
    return settings_are_there(facts) or facts.overlay_on_proc_sys.works


def pod_network(facts: Facts) -> Literal["bridge", "shared"]:
    """Whether each pod has a network of its own, or they share the sandbox's, led to addresses of loopback by a tracer;
    by `pod_network`, and where that is missing by `loopback_addresses` and `interception`."""
    if not facts.pod_network.works and facts.loopback_addresses.works and facts.interception.works:
        return "shared"
    return "bridge"


def carries_best(facts: Facts) -> bool:
    """Whether the sandbox itself carries a node whose pods have networks of their own, than which there is none
    better."""
    return choose(facts).level == "node" and pod_network(facts) == "bridge"


def in_user_namespace(facts: Facts) -> Facts | None:
    """What a node in a user namespace of our own rests on: the kernel's answers there, the sandbox's resolvers, and
    whose sandbox it is. None where there are no such answers."""
    if facts.inside is None or not facts.user_namespace.works:
        return None
    kept = ("uid", "capabilities", "resolvers", "user_namespace")
    return msgspec.structs.replace(facts.inside, **{name: getattr(facts, name) for name in kept})


def lacks_inside(facts: Facts) -> tuple[str, ...]:
    """The facts that keep a node away from a user namespace which can be had: what any node needs, and in a network of
    its own pods' links and the relay's device."""
    inner = in_user_namespace(facts)
    if inner is None:
        return ()
    needed = [each.fact for each in choose(inner).lacks]
    if facts.network_inside == "own":
        needed += [name for name in ("pod_network", "tun") if not getattr(inner, name).works]
    return tuple(dict.fromkeys(needed))


def has_usage_of_root(facts: Facts) -> bool:
    """Whether cAdvisor can read the use of the root control group, without which no kubelet that it serves gets ready;
    by `usage_per_cpu` and `control_groups_v2`."""
    return facts.usage_per_cpu or control_group_layout(facts) == "v2"


def image_store(facts: Facts) -> tuple[Literal["overlayfs", "native"], Literal["disk", "tmpfs"]]:
    """Snapshotter and place: overlay on disk, on tmpfs, or copies on disk; by `overlay_on_data` and
    `overlay_on_tmpfs`."""
    if facts.overlay_on_data.works:
        return "overlayfs", "disk"
    if facts.overlay_on_tmpfs.works:
        return "overlayfs", "tmpfs"
    return "native", "disk"


def image_store_size(facts: Facts) -> int:
    """The size in bytes of a store on tmpfs."""
    return facts.memory // 2


def control_group_layout(facts: Facts) -> Literal["v1", "v1-to-mount", "v2", "none"]:
    """Which hierarchy the node uses: what is mounted, before what could be mounted."""
    mounted = {name for controllers in facts.control_groups_v1.values() for name in controllers}
    if mounted.issuperset(REQUIRED_V1):
        return "v1"
    if facts.control_groups_v2 == "/sys/fs/cgroup" and set(facts.control_groups_v2_controllers).issuperset(REQUIRED_V2):
        return "v2"
    return "v1-to-mount" if set(facts.control_groups_v1_mountable).issuperset(REQUIRED_V1) else "none"


def _answers(facts: Facts) -> list[Lack]:
    return [
        Lack(fact=fact, cause=f"{fact}: {getattr(facts, fact).cause}", consequence=consequence, hint=hint)
        for fact, (consequence, hint) in NEEDS.items()
        if not getattr(facts, fact).works and not (fact == "pod_network" and pod_network(facts) == "shared")
    ]


def _beyond_mounts(facts: Facts) -> list[Lack]:
    found = _control_groups(facts)
    if not mounts_give_settings(facts):
        found.append(
            Lack(
                fact="sysctls",
                cause=f"settings below /proc/sys cannot be written, and no overlay hides it: "
                f"{facts.overlay_on_proc_sys.cause}",
                consequence="the kubelet ends when it cannot write them",
                hint="a writable /proc/sys, or a sandbox with ptrace and seccomp filters",
            )
        )
    if not has_identities(facts):
        found.append(
            Lack(
                fact="identities",
                cause=f"{facts.identities} user or group ids are mapped, where images have files of {IDENTITIES}",
                consequence="files of images cannot be given to their owners",
                hint="run the sandbox as root with CAP_SETUID and CAP_SETGID, or with ptrace and seccomp filters",
            )
        )
    return found


def _uncured(facts: Facts, *, emulated_control_groups: bool) -> Iterator[Lack]:
    """Those that the tracer does not cure either. Control groups that it leads to have to be there."""
    for lack in _beyond_mounts(facts):
        if not _can_trace(facts) or (lack.fact in CONTROL_GROUP_FACTS and not emulated_control_groups):
            yield lack


def _can_trace(facts: Facts) -> bool:
    """Whether the tracer can stand in; where pods share a network each has a tracer already."""
    return facts.interception.works and pod_network(facts) == "bridge"


def _control_groups(facts: Facts) -> list[Lack]:
    if control_group_layout(facts) != "none":
        return [] if facts.control_group_creation.works else [_fixed_control_groups(facts)]
    lack = Lack(
        fact="control_groups",
        cause="no control group hierarchy with cpu, cpuset, memory and pids is mounted or can be mounted",
        consequence="the kubelet and runc place containers in control groups",
        hint="give the sandbox a writable /sys/fs/cgroup, or /dev/fuse, ptrace and seccomp filters",
    )
    return [lack]


def _fixed_control_groups(facts: Facts) -> Lack:
    """Mounted read-only, as in most containers."""
    return Lack(
        fact="control_group_creation",
        cause=f"control_group_creation: {facts.control_group_creation.cause}",
        consequence="the node makes a group of its own in each hierarchy that is mounted",
        hint="mount /sys/fs/cgroup writable, or give the sandbox /dev/fuse, ptrace and seccomp filters",
    )


def _ranges(facts: Facts, ranges: tuple[str, ...]) -> list[Lack]:
    return [
        Lack(
            fact="used_ranges",
            cause=f"the range {wanted} overlaps {used}, which this sandbox uses already",
            consequence="pods and Services could not be told from what is there",
            hint="ip addr; ip route",
        )
        for wanted in ranges
        for used in facts.used_ranges
        if ipaddress.ip_network(wanted).overlaps(ipaddress.ip_interface(used).network) and not used.endswith("/0")
    ]
