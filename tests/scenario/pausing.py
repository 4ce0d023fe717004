"""Pods that run, and what shows that they went on running: for tests that stop everything, or move the clock."""

from __future__ import annotations

import json
import time
from typing import Any

from tests.harness.environment import Environment
from tests.harness.images import SHELL
from tests.scenario.cluster import NODE, PATIENCE, Cluster, eventually
from tests.scenario.manifests import pod, script, workload

# How soon the node must be Ready again.
READY_SECONDS = 30.0
# How long nothing may happen to the pods after that: longer than the kubelet and the controllers need for a round.
WATCHED_SECONDS = 15.0
LEASE = f"lease/{NODE}"


def start(environment: Environment) -> Cluster:
    """A cluster with a bare pod and a Deployment of two, which are asked all the time whether they live."""
    environment.kins("up", timeout=PATIENCE + 10)
    environment.kins("image", "load", f"/images/{SHELL.archive.name}", timeout=PATIENCE)
    cluster = Cluster(environment, "default")
    cluster.wait("serviceaccount/default", "create")
    alive = {"exec": {"command": ["true"]}, "periodSeconds": 2, "timeoutSeconds": 5, "failureThreshold": 3}
    text = "trap 'exit 0' TERM; while true; do sleep 1; done"
    asked = script(text, livenessProbe=alive, readinessProbe=alive)
    cluster.apply(pod("bare", asked), workload("Deployment", "kept", asked, replicas=2))
    cluster.ready("bare")
    cluster.roll_out("deployment/kept")
    return cluster


def lives(cluster: Cluster) -> dict[str, Any]:
    """What would be different if a pod had been replaced, or a container started again."""
    return {
        found["metadata"]["name"]: [
            found["metadata"]["uid"],
            *(
                [status["restartCount"], status["containerID"], status["state"]["running"]["startedAt"]]
                for status in found["status"]["containerStatuses"]
            ),
        ]
        for found in cluster.json("pods")["items"]
    }


def ready_again(cluster: Cluster, renewed: str) -> float:
    """Wait until the kubelet has renewed its lease and the node is Ready and takes pods; the seconds that it took."""
    began = time.monotonic()

    def holds() -> bool:
        node = cluster.json("node", NODE)
        conditions = {each["type"]: each["status"] for each in node["status"]["conditions"]}
        fresh = lease(cluster) > renewed
        return fresh and conditions["Ready"] == "True" and not node["spec"].get("taints")

    eventually(holds, READY_SECONDS)
    return time.monotonic() - began


def lease(cluster: Cluster) -> str:
    """When the kubelet has last said that it lives (RFC 3339, UTC)."""
    answer = cluster.kubectl("get", LEASE, "--namespace=kube-node-lease", "--output=jsonpath={.spec.renewTime}")
    return answer.stdout


def check_pods(cluster: Cluster, before: dict[str, Any]) -> None:
    """They are the same ones, also a while later, and ready; and a new one runs."""
    time.sleep(WATCHED_SECONDS)  # nothing can be waited for: nothing must happen
    assert lives(cluster) == before, json.dumps(cluster.json("events"), indent=1)
    cluster.ready(*before)
    cluster.apply(pod("new"))
    cluster.ready("new")
