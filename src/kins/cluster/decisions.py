"""What the facts of the sandbox mean for the cluster that is asked for."""

from __future__ import annotations

import ipaddress

import msgspec

from kins.cluster.spec import ClusterSpec, Decisions, KubeletDecision, Missing
from kins.components import kwok
from kins.components.kubelet import Kind
from kins.network.addresses import (
    LOAD_BALANCER_RANGE,
    ON_LOOPBACK,
    POD_RANGE,
    SERVICE_RANGE,
    of_outer_loopback,
)
from kins.sandbox import Facts, choose
from kins.sandbox.levels import (
    control_group_layout,
    has_identities,
    has_usage_of_root,
    image_store,
    image_store_size,
    in_user_namespace,
    needs_emulated_control_groups,
    needs_tracer,
    pod_network,
)

# A stable word before the colon, for programs.
POLICY_LIMIT = "network-policy: NetworkPolicy objects are accepted and not enforced"
RESOLVERS_LIMIT = "resolvers: pods find no outside names; this sandbox has no resolver in reach (/etc/resolv.conf)"
SILENT_LIMIT = "resolvers: pods may find no outside names; no resolver of this sandbox answered (/etc/resolv.conf)"
SHARED_LIMIT = (
    "shared-network: pods have no network of their own, because network namespaces have no IP here; they use the "
    f"sandbox's, each at an address of {ON_LOOPBACK[POD_RANGE]} in the place of its own, and nothing keeps them apart"
)
PLACES_LIMIT = (
    "shared-network-places: programs of the sandbox itself reach pods at 127.42.x.y in the place of 10.42.x.y, and "
    "Services at 127.43.x.y in the place of 10.43.x.y"
)
EGRESS_LIMIT = "egress: pods reach nothing beyond this sandbox, because it has no tun devices"
WATCHED_LIMIT = "CPU limits of containers are stored and not enforced; memory limits are, by a look at their processes"
MEMORY_LIMIT = "memory and CPU limits of containers are stored and not enforced (gVisor's control groups)"
SIMULATED_LIMIT = (
    "simulated: pods on simulated nodes report that they run, and nothing in them does: no logs, no exec, no open "
    f"ports, no figures, no webhooks; each of these nodes and pods is marked {kwok.MARK}={kwok.MARKED}"
)
ISOLATION_LIMIT = (
    "user-namespace: the node has a network of its own, because this sandbox lets nobody change its network: pods and "
    "Services are reached from outside by published ports and kubectl port-forward, and not by their addresses"
)
IDENTITIES_LIMIT = (
    "identities: this sandbox has one user id for everything: programs of pods run as root of their container, "
    "whatever user they have or ask for, and every file is theirs"
)
IMAGES_LIMIT = (
    "unpacked images are in memory (tmpfs), {size:.1f} GiB at most, because overlay works on nothing else here: the "
    "kubelet removes unused ones when 85 % of that are taken"
)


def decide(facts: Facts, spec: ClusterSpec) -> Decisions:
    """The level, why it is no higher, and how the node's needs are met. The best node is one in the sandbox itself,
    then one in a user namespace (by `user_namespace` and `inside`), then one whose pods share the sandbox's network."""
    decided = _decide(facts, spec)
    inner = in_user_namespace(facts)
    if inner is None or (decided.level == "node" and decided.pod_network == "bridge"):
        return decided
    if facts.network_inside == "sandbox":
        if decided.level == "node":
            return decided  # its pods would share the same network in there
        within = _decide(inner, spec)
        return msgspec.structs.replace(within, isolation="user-namespace") if within.level == "node" else decided
    within = _decide(_by_relay(inner), spec)
    # Pods that share a network have no relay; without its device they would reach no Services there, nor the node
    # registries.
    if within.level != "node" or not within.egress:
        return decided
    return msgspec.structs.replace(within, isolation="user-namespace", limits=(*within.limits, ISOLATION_LIMIT))


def _by_relay(facts: Facts) -> Facts:
    """The same with the resolvers that the relay reaches, which knows no IPv6, at their addresses inside."""
    answers = {of_outer_loopback(address): answer for address, answer in facts.resolvers.items()}
    found = {each: ipaddress.ip_address(each) for each in answers}
    reached = {each: answers[each] for each in answers if found[each].version == 4 and not found[each].is_loopback}
    return msgspec.structs.replace(facts, resolvers=reached)


def resting_on(facts: Facts, decisions: Decisions) -> Facts:
    """The facts that a node with these decisions rests on."""
    inner = in_user_namespace(facts)
    return facts if inner is None or decisions.isolation == "sandbox" else inner


def _decide(facts: Facts, spec: ClusterSpec) -> Decisions:
    asked = "cgroupfs" in spec.additions
    emulated = asked or needs_emulated_control_groups(facts)
    choice = choose(facts, (POD_RANGE, SERVICE_RANGE, LOAD_BALANCER_RANGE), emulated_control_groups=asked)
    missing = tuple(
        Missing(fact=lack.fact, cause=lack.cause, consequence=lack.consequence, hint=lack.hint) for lack in choice.lacks
    )
    if choice.level != "node":
        return without_node(spec, missing)
    snapshotter, images_on = image_store(facts)
    return Decisions(
        level="node",
        kubelet=_kubelet(facts, spec.kubelet, emulated=emulated),
        snapshotter=snapshotter,
        images_on=images_on,
        interception=bool(spec.additions) or needs_tracer(facts),
        control_groups="emulated" if emulated else "kernel",
        resolvers=_resolvers(facts),
        supplied=tuple(name for name, found in facts.programs.items() if not found),
        egress=pod_network(facts) == "bridge" and facts.tun.works,
        pod_network=pod_network(facts),
        limits=(*_limits(facts, images_on, emulated=emulated), *([SIMULATED_LIMIT] if spec.fake_nodes else [])),
        fake_nodes=spec.fake_nodes or 0,
    )


def without_node(spec: ClusterSpec, missing: tuple[Missing, ...] = ()) -> Decisions:
    """The levels that rest on no fact: simulated nodes, unless a control plane alone is asked for. `missing` is why the
    level is no higher."""
    if spec.level == "control-plane":
        return Decisions(level="control-plane", missing=missing)
    return Decisions(level="fake", missing=missing, limits=(SIMULATED_LIMIT,), fake_nodes=spec.fake_nodes or 1)


def _kubelet(facts: Facts, wish: str, *, emulated: bool) -> KubeletDecision:
    """Upstream's, unless cAdvisor would keep it from ever getting ready; another one only on request."""
    complete, because = _usage_of_root(facts, emulated=emulated)
    if wish == "auto":
        return KubeletDecision(kind="stock" if complete else "no-cadvisor", because=because)
    wanted = msgspec.convert(wish, Kind)
    if wanted == "stock" and not complete:
        because = f"asked for; {because}, so it gets them in a view of its own"
        return KubeletDecision(kind=wanted, because=because, view=True)
    return KubeletDecision(kind=wanted, because="asked for")


def _usage_of_root(facts: Facts, *, emulated: bool) -> tuple[bool, str]:
    """Whether cAdvisor will have the root group's figures, and by which fact."""
    if emulated:
        return True, "control_groups: the emulated ones have the files that cAdvisor needs"
    if has_usage_of_root(facts):
        fact = "control_groups_v2" if control_group_layout(facts) == "v2" else "usage_per_cpu"
        return True, f"{fact}: cAdvisor has the files that it needs"
    return False, "usage_per_cpu: cAdvisor drops the root's figures where cpuacct.usage_percpu is missing"


def _resolvers(facts: Facts) -> tuple[str, ...]:
    """Where questions for outside names go; by `resolvers`. Silent ones as well: they may be busy now. Never to our
    own DNS server, which a user may have entered into /etc/resolv.conf for good."""
    own = [ipaddress.ip_network(each) for each in (SERVICE_RANGE, ON_LOOPBACK[SERVICE_RANGE])]
    return tuple(
        address
        for address, answer in facts.resolvers.items()
        if answer != "unreachable" and not any(ipaddress.ip_address(address) in each for each in own)
    )


def _limits(facts: Facts, images_on: str, *, emulated: bool) -> tuple[str, ...]:
    limits = [POLICY_LIMIT]
    if not _resolvers(facts):
        limits.append(RESOLVERS_LIMIT)
    elif "answers" not in facts.resolvers.values():
        limits.append(SILENT_LIMIT)
    if pod_network(facts) == "shared":
        limits += [SHARED_LIMIT, PLACES_LIMIT]
    elif not facts.tun.works:
        limits.append(f"{EGRESS_LIMIT} ({facts.tun.cause})")
    if not has_identities(facts):
        limits.append(IDENTITIES_LIMIT)
    if emulated:
        limits.append(WATCHED_LIMIT)
    elif not has_usage_of_root(facts):
        # v2 never has this file; v1 lacks it exactly where control groups are the sandbox kernel's imitation.
        limits.append(MEMORY_LIMIT)
    if images_on == "tmpfs":
        limits.append(IMAGES_LIMIT.format(size=image_store_size(facts) / 2**30))
    return tuple(limits)
