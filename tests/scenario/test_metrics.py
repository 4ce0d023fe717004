"""What `kubectl top` says, and what a HorizontalPodAutoscaler makes of it."""

from __future__ import annotations

import json

import pytest
from tests.scenario.cluster import NODE, Cluster, Object, eventually
from tests.scenario.manifests import pod, script, workload

pytestmark = pytest.mark.one_root("overlay")

MEGABYTE = 1 << 20
HELD = 48 * MEGABYTE
# metrics-server asks each node every 15 s, and a rate needs two answers; the autoscaler looks every 15 s.
PATIENCE = 180.0

# Some tenths of a core: much for a request of 10m, little for those who share the machine.
BUSY = "while :; do for ((turn = 0; turn < 20000; turn++)); do :; done; sleep 0.2; done"


def top(cluster: Cluster, *arguments: str) -> dict[str, tuple[int, int]]:
    """Millicores and bytes by name, as `kubectl top` shows them; empty as long as there are no figures."""
    shown = [line.split() for line in cluster.kubectl("top", *arguments, check=False).stdout.splitlines()]
    rows = [dict(zip(shown[0], row, strict=True)) for row in shown[1:]]
    return {row["NAME"]: (millicores(row["CPU(cores)"]), mebibytes(row["MEMORY(bytes)"])) for row in rows}


def millicores(text: str) -> int:
    """A quantity of CPU as kubectl writes it."""
    assert text.endswith("m"), text
    return int(text.removesuffix("m"))


def mebibytes(text: str) -> int:
    """Bytes of a quantity of memory as kubectl writes it."""
    assert text.endswith("Mi"), text
    return int(text.removesuffix("Mi")) * MEGABYTE


def autoscaler(name: str) -> Object:
    """At most two pods of a Deployment, as soon as they use more than half of the CPU that they ask for."""
    resource = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": name},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
            "minReplicas": 1,
            "maxReplicas": 2,
            "metrics": [{"type": "Resource", "resource": resource}],
        },
    }


def test_top_and_an_autoscaler(cluster: Cluster) -> None:
    """Who works and who holds memory can be told; the Deployment that works gets a second pod, and is told why."""
    # One test: both wait for the same figures.
    busy = workload("Deployment", "busy", script(BUSY, resources={"requests": {"cpu": "10m"}}))
    large = script(f"{{ head -c {HELD} /dev/zero; sleep infinity; }} | tail")
    cluster.apply(busy, autoscaler("busy"), pod("large", large))
    cluster.ready("large")
    cluster.roll_out("deployment/busy")
    working = cluster.pods("app=busy")[0]["metadata"]["name"]

    def told_apart() -> bool:
        pods, nodes = top(cluster, "pods"), top(cluster, "nodes")
        if not {working, "large"} <= set(pods) or NODE not in nodes:
            return False
        (idle_cpu, much), (cpu, little) = pods["large"], pods[working]
        return cpu > 10 > idle_cpu and little < HELD < much and nodes[NODE][0] >= cpu and nodes[NODE][1] > much

    eventually(told_apart, PATIENCE)
    eventually(lambda: len(cluster.pods("app=busy")) == 2, PATIENCE)
    status = cluster.json("hpa/busy")["status"]
    assert status["desiredReplicas"] == 2
    assert status["currentMetrics"][0]["resource"]["current"]["averageUtilization"] > 50
    assert {each["type"]: each["status"] for each in status["conditions"]}["ScalingActive"] == "True"


def test_who_may_ask(cluster: Cluster) -> None:
    """Users with the role `view` may; the API server is asked, and asks metrics-server as who they are."""
    cluster.wait("apiservice/v1beta1.metrics.k8s.io", "condition=Available")
    cluster.kubectl("create", "rolebinding", "viewer", "--clusterrole=view", "--user=viewer")
    cluster.kubectl("top", "pods", "--as=viewer")
    refused = cluster.kubectl("top", "nodes", "--as=viewer", check=False)
    assert refused.returncode != 0
    assert "forbidden" in refused.stderr.lower()
    discovered = json.loads(cluster.kubectl("get", "--raw", "/apis/metrics.k8s.io/v1beta1").stdout)
    assert {each["name"] for each in discovered["resources"]} == {"nodes", "pods"}


def test_metrics_server_has_no_other_rights(cluster: Cluster) -> None:
    """Whoever takes it over sees pods and figures, and changes nothing."""

    def may(*words: str) -> bool:
        answer = cluster.kubectl("auth", "can-i", *words, "--as=kins:metrics-server", "--all-namespaces", check=False)
        return answer.stdout.strip() == "yes"

    assert may("list", "pods")
    assert may("get", "nodes", "--subresource=metrics")
    for words in (("get", "secrets"), ("create", "pods"), ("get", "nodes", "--subresource=proxy"), ("delete", "pods")):
        assert not may(*words), words
