"""What the node says of itself and of its pods."""

from __future__ import annotations

import json

from tests.harness.environment import Environment
from tests.scenario.cluster import NODE, Cluster, Object, eventually
from tests.scenario.manifests import pod, script

MEGABYTE = 1 << 20
HELD = 64 * MEGABYTE


def summary(cluster: Cluster) -> Object:
    """The kubelet's summary."""
    found: Object = json.loads(cluster.kubectl("get", "--raw", f"/api/v1/nodes/{NODE}/proxy/stats/summary").stdout)
    return found


def containers(cluster: Cluster, found: Object) -> dict[str, Object]:
    """The figures of the containers in the test's pod, by their names; empty as long as there are none."""
    reference = {"name": "working", "namespace": cluster.namespace}
    for each in found["pods"]:
        if reference.items() <= each["podRef"].items():
            return {container["name"]: container for container in each.get("containers", ())}
    return {}


def figure(of: Object, part: str, name: str) -> int:
    """One figure; 0 where there is none (yet)."""
    value: int = of.get(part, {}).get(name, 0)
    return value


def test_summary(cluster: Cluster) -> None:
    """CPU and memory of the node and of each container: who works and who holds memory can be told."""
    busy = script("while :; do :; done", name="busy")
    large = script(f"held=$(head -c {HELD} /dev/zero | tr '\\0' x); sleep infinity", name="large")
    idle = script("sleep infinity", name="idle")
    cluster.apply(pod("working", busy, large, idle))
    cluster.ready("working")

    def told_apart() -> bool:
        found = containers(cluster, summary(cluster))
        if set(found) != {"busy", "large", "idle"}:
            return False
        rate = {name: figure(each, "cpu", "usageNanoCores") for name, each in found.items()}
        memory = {name: figure(each, "memory", "workingSetBytes") for name, each in found.items()}
        return rate["busy"] > 10 * rate["idle"] and memory["large"] > HELD and 0 < memory["idle"] < HELD / 2

    eventually(told_apart)
    found = summary(cluster)
    (whole,) = [each for each in found["pods"] if each["podRef"]["namespace"] == cluster.namespace]
    used = {name: figure(each, "cpu", "usageCoreNanoSeconds") for name, each in containers(cluster, found).items()}
    node = found["node"]
    assert node["nodeName"] == NODE
    assert figure(whole, "cpu", "usageNanoCores") > 0
    assert figure(whole, "memory", "workingSetBytes") > HELD
    assert figure(node, "cpu", "usageNanoCores") > 0
    assert figure(node, "cpu", "usageCoreNanoSeconds") > used["busy"]
    assert figure(node, "memory", "workingSetBytes") > HELD
    assert 0 < figure(node, "fs", "availableBytes") < figure(node, "fs", "capacityBytes")
    # The busy one goes on.
    eventually(
        lambda: figure(containers(cluster, summary(cluster))["busy"], "cpu", "usageCoreNanoSeconds") > used["busy"]
    )


def test_capacity(cluster: Cluster, environment: Environment) -> None:
    """The node has what the environment has, and offers no more than that."""
    status = cluster.json(f"node/{NODE}")["status"]
    capacity, allocatable = status["capacity"], status["allocatable"]
    assert capacity["cpu"] == environment.output("nproc").strip()
    memory = next(line for line in environment.output("cat", "/proc/meminfo").splitlines() if "MemTotal" in line)
    assert capacity["memory"] == f"{memory.split()[1]}Ki"
    assert capacity["pods"] == "110"
    assert kibibytes(capacity["ephemeral-storage"]) > 0
    assert allocatable["cpu"] == capacity["cpu"]
    assert 0 < kibibytes(allocatable["memory"]) <= kibibytes(capacity["memory"])
    conditions = {each["type"]: each["status"] for each in status["conditions"]}
    assert conditions == {
        "Ready": "True",
        "MemoryPressure": "False",
        "DiskPressure": "False",
        "PIDPressure": "False",
    }


def kibibytes(quantity: str) -> int:
    """A quantity in Ki, as the kubelet writes memory and storage."""
    assert quantity.endswith("Ki"), quantity
    return int(quantity.removesuffix("Ki"))
