"""What the node says of itself and of its pods."""

from __future__ import annotations

import json
import re

import pytest
from tests.harness.environment import Environment
from tests.scenario.cluster import NODE, Cluster, Object, eventually
from tests.scenario.manifests import pod, script

pytestmark = pytest.mark.one_root("9p")

MEGABYTE = 1 << 20
HELD = 32 * MEGABYTE


def summary(cluster: Cluster) -> Object:
    """The kubelet's summary."""
    found: Object = json.loads(cluster.kubectl("get", "--raw", f"/api/v1/nodes/{NODE}/proxy/stats/summary").stdout)
    return found


def own(cluster: Cluster, found: Object, name: str = "working") -> Object:
    """The figures of the test's pod; empty as long as there are none."""
    reference = {"name": name, "namespace": cluster.namespace}
    return next((each for each in found["pods"] if reference.items() <= each["podRef"].items()), {})


def containers(of: Object) -> dict[str, Object]:
    """The figures of a pod's containers, by their names."""
    return {container["name"]: container for container in of.get("containers", ())}


def figure(of: Object, part: str, name: str) -> int:
    """One figure; 0 where there is none (yet)."""
    value: int = of.get(part, {}).get(name, 0)
    return value


def test_summary(cluster: Cluster) -> None:
    """CPU and memory of the node and of each container: who works and who holds memory can be told."""
    busy = script("while :; do :; done", name="busy")
    # tail keeps what may belong to the last lines.
    large = script(f"{{ head -c {HELD} /dev/zero; sleep infinity; }} | tail", name="large")
    idle = script("sleep infinity", name="idle")
    cluster.apply(pod("working", busy, large, idle))
    cluster.ready("working")

    # A rate needs two samples.
    def told_apart() -> bool:
        found = summary(cluster)
        apart = containers(own(cluster, found))
        if set(apart) != {"busy", "large", "idle"}:
            return False
        rates = {name: figure(each, "cpu", "usageNanoCores") for name, each in apart.items()}
        memory = {name: figure(each, "memory", "workingSetBytes") for name, each in apart.items()}
        return (
            rates["busy"] > 10 * rates["idle"]
            and figure(own(cluster, found), "cpu", "usageNanoCores") > 0
            and figure(found["node"], "cpu", "usageNanoCores") > 0
            and 0 < memory["idle"] < HELD < memory["large"]
            and figure(own(cluster, found), "memory", "workingSetBytes") > HELD
        )

    eventually(told_apart)
    found = summary(cluster)
    node, used = found["node"], figure(containers(own(cluster, found))["busy"], "cpu", "usageCoreNanoSeconds")
    assert node["nodeName"] == NODE
    assert figure(node, "cpu", "usageCoreNanoSeconds") > used > 0
    assert figure(node, "memory", "workingSetBytes") > HELD
    assert 0 < figure(node, "fs", "availableBytes") < figure(node, "fs", "capacityBytes")

    def goes_on() -> bool:
        return figure(containers(own(cluster, summary(cluster)))["busy"], "cpu", "usageCoreNanoSeconds") > used

    eventually(goes_on)


def test_metrics(cluster: Cluster) -> None:
    """What Prometheus finds of a container at the kubelet, by the usual labels; and its pod's traffic."""
    cluster.apply(pod("measured", script("while :; do :; done", name="busy")))
    cluster.ready("measured")
    labels = f'container="busy",.*namespace="{cluster.namespace}",pod="measured"'

    def values(name: str) -> list[float]:
        path = f"/api/v1/nodes/{NODE}/proxy/metrics/cadvisor"
        lines = cluster.kubectl("get", "--raw", path).stdout.splitlines()
        return [float(line.split()[1]) for line in lines if re.match(rf"{name}{{{labels}", line)]

    eventually(lambda: sum(values("container_cpu_usage_seconds_total")) > 1)
    (used,) = values("container_memory_working_set_bytes")
    assert 0 < used < HELD
    (resident,) = values("container_memory_rss")
    assert 0 < resident < HELD
    assert values("container_processes") == [1]

    def has_traffic() -> bool:
        return figure(own(cluster, summary(cluster), "measured"), "network", "txBytes") > 0

    cluster.execute("measured", "bash", "-c", "echo > /dev/tcp/10.42.0.1/1 || true", container="busy")
    eventually(has_traffic)


def test_more_than_there_is(cluster: Cluster) -> None:
    """A pod that the scheduler did not place is refused by the kubelet when the node cannot carry it."""
    cores = int(cluster.json(f"node/{NODE}")["status"]["allocatable"]["cpu"])
    large = script("sleep infinity", resources={"requests": {"cpu": str(cores + 1)}})
    cluster.apply(pod("large", large, nodeName=NODE))
    cluster.phase("Failed", "large")
    assert cluster.json("pod/large")["status"]["reason"] == "OutOfcpu"


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
