"""What the facts of the sandbox mean for the cluster that is asked for."""

from __future__ import annotations

from kins.cluster.spec import Decisions, Missing
from kins.network.addresses import POD_RANGE, SERVICE_RANGE
from kins.sandbox import Facts, choose
from kins.sandbox.levels import control_group_layout, image_store, statistics_source

SERVICES_LIMIT = (
    "Services have no cluster IPs that answer and there is no cluster DNS yet: reach pods by their own address"
)
MEMORY_LIMIT = "memory and CPU limits of containers are stored and not enforced (gVisor's control groups)"
IMAGES_LIMIT = "the image store is in memory (tmpfs): overlay works on nothing else here"


def decide(facts: Facts) -> Decisions:
    """The level, why it is no higher, and how the node's needs are met."""
    choice = choose(facts, (POD_RANGE, SERVICE_RANGE))
    missing = tuple(
        Missing(fact=lack.fact, cause=lack.cause, consequence=lack.consequence, hint=lack.hint) for lack in choice.lacks
    )
    if choice.level == "control-plane":
        return Decisions(level="control-plane", missing=missing)
    snapshotter, images_on = image_store(facts)
    return Decisions(
        level="node",
        statistics=statistics_source(facts),
        snapshotter=snapshotter,
        images_on=images_on,
        limits=_limits(facts, images_on),
    )


def _limits(facts: Facts, images_on: str) -> tuple[str, ...]:
    limits = [SERVICES_LIMIT]
    if not facts.usage_per_cpu and control_group_layout(facts) != "v2":
        # v2 never has this file; v1 lacks it exactly where control groups are the sandbox kernel's imitation.
        limits.append(MEMORY_LIMIT)
    if images_on == "tmpfs":
        limits.append(IMAGES_LIMIT)
    return tuple(limits)
