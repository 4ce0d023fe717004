"""What the facts of the sandbox mean for the cluster that is asked for."""

from __future__ import annotations

import msgspec

from kins.cluster.spec import Decisions, KubeletDecision, Missing
from kins.components.kubelet import Kind
from kins.network.addresses import POD_RANGE, SERVICE_RANGE
from kins.sandbox import Facts, choose
from kins.sandbox.levels import control_group_layout, has_usage_of_root, image_store

SERVICES_LIMIT = (
    "Services have no cluster IPs that answer and there is no cluster DNS yet: reach pods by their own address"
)
MEMORY_LIMIT = "memory and CPU limits of containers are stored and not enforced (gVisor's control groups)"
IMAGES_LIMIT = "the image store is in memory (tmpfs): overlay works on nothing else here"


def decide(facts: Facts, kubelet: str = "auto") -> Decisions:
    """The level, why it is no higher, and how the node's needs are met. `kubelet` is the wish of `ClusterSpec`."""
    choice = choose(facts, (POD_RANGE, SERVICE_RANGE))
    missing = tuple(
        Missing(fact=lack.fact, cause=lack.cause, consequence=lack.consequence, hint=lack.hint) for lack in choice.lacks
    )
    if choice.level == "control-plane":
        return Decisions(level="control-plane", missing=missing)
    snapshotter, images_on = image_store(facts)
    return Decisions(
        level="node",
        kubelet=_kubelet(facts, kubelet),
        snapshotter=snapshotter,
        images_on=images_on,
        limits=_limits(facts, images_on),
    )


def _kubelet(facts: Facts, wish: str) -> KubeletDecision:
    """Upstream's, unless cAdvisor would keep it from ever getting ready; another one only on request."""
    if has_usage_of_root(facts):
        fact, word = "usage_per_cpu", "cAdvisor has the files that it needs"
        if control_group_layout(facts) == "v2":
            fact = "control_groups_v2"
    else:
        fact, word = "usage_per_cpu", "cAdvisor drops the root's figures where cpuacct.usage_percpu is missing"
    if wish == "auto":
        kind: Kind = "stock" if has_usage_of_root(facts) else "no-cadvisor"
        return KubeletDecision(kind=kind, because=f"{fact}: {word}")
    wanted = msgspec.convert(wish, Kind)
    if wanted == "stock" and not has_usage_of_root(facts):
        because = f"asked for; {fact}: {word}, so it gets them in a view of its own"
        return KubeletDecision(kind=wanted, because=because, view=True)
    return KubeletDecision(kind=wanted, because="asked for")


def _limits(facts: Facts, images_on: str) -> tuple[str, ...]:
    limits = [SERVICES_LIMIT]
    if not has_usage_of_root(facts):
        # v2 never has this file; v1 lacks it exactly where control groups are the sandbox kernel's imitation.
        limits.append(MEMORY_LIMIT)
    if images_on == "tmpfs":
        limits.append(IMAGES_LIMIT)
    return tuple(limits)
