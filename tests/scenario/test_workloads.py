"""Workloads, each to its end."""

from __future__ import annotations

import pytest
from tests.harness.images import NGINX
from tests.scenario.cluster import NODE, Cluster, Object
from tests.scenario.manifests import container, job, script, workload

pytestmark = pytest.mark.one_root("overlay")


def names(objects: list[Object]) -> list[str]:
    """The objects' names."""
    return [each["metadata"]["name"] for each in objects]


def test_deployment(cluster: Cluster) -> None:
    """Scaled up and down, and rolled over to another template until nothing of the old one is left."""

    def deployment(replicas: int, version: str) -> Object:
        server = container(image=NGINX.name, env=[{"name": "VERSION", "value": version}])
        return workload("Deployment", "web", server, replicas=replicas)

    cluster.apply(deployment(1, "old"))
    cluster.roll_out("deployment/web")
    cluster.kubectl("scale", "deployment/web", "--replicas=3")
    cluster.roll_out("deployment/web")
    assert len(cluster.pods("app=web")) == 3
    cluster.kubectl("scale", "deployment/web", "--replicas=2")
    cluster.roll_out("deployment/web")
    old = names(cluster.pods("app=web"))
    assert len(old) == 2

    cluster.apply(deployment(2, "new"))
    cluster.roll_out("deployment/web")
    cluster.wait(" ".join(f"pod/{name}" for name in old), "delete")
    new = cluster.pods("app=web")
    assert [pod["spec"]["containers"][0]["env"][0]["value"] for pod in new] == ["new", "new"]


def test_stateful_set(cluster: Cluster) -> None:
    """Names that stay, pods one after the other, a new pod under the old name."""
    cluster.apply(workload("StatefulSet", "store", replicas=2, serviceName="store"))
    cluster.roll_out("statefulset/store")
    first, second = cluster.pods("app=store")
    assert names([first, second]) == ["store-0", "store-1"]
    assert cluster.execute("store-1", "hostname").strip() == "store-1"
    # The second one was not made before the first was ready.
    became_ready = next(each for each in first["status"]["conditions"] if each["type"] == "Ready")["lastTransitionTime"]
    assert became_ready <= second["metadata"]["creationTimestamp"]

    cluster.delete("pod/store-0")
    cluster.roll_out("statefulset/store")
    again = cluster.json("pod/store-0")
    assert again["metadata"]["uid"] != first["metadata"]["uid"]


def test_daemon_set(cluster: Cluster) -> None:
    """One pod on the one node, and another after its end."""
    cluster.apply(workload("DaemonSet", "agent"))
    cluster.roll_out("daemonset/agent")
    (pod,) = cluster.pods("app=agent")
    assert pod["spec"]["nodeName"] == NODE
    cluster.delete(f"pod/{pod['metadata']['name']}")
    cluster.roll_out("daemonset/agent")
    (other,) = cluster.pods("app=agent")
    assert other["metadata"]["uid"] != pod["metadata"]["uid"]


def test_job(cluster: Cluster) -> None:
    """Completed by as many pods as asked for, and failed."""
    indexed = job(
        "indexed", script("echo $JOB_COMPLETION_INDEX"), completions=3, parallelism=2, completionMode="Indexed"
    )
    cluster.apply(indexed, job("failing", container("false")))
    cluster.wait("job/indexed", "condition=Complete")
    cluster.wait("job/failing", "condition=Failed")
    status = cluster.json("job/indexed")["status"]
    assert (status["succeeded"], status["completedIndexes"]) == (3, "0-2")
    said = cluster.kubectl("logs", "--selector=batch.kubernetes.io/job-name=indexed").stdout
    assert sorted(said.split()) == ["0", "1", "2"]
    assert cluster.json("job/failing")["status"]["failed"] == 1


def test_cron_job(cluster: Cluster) -> None:
    """By hand, and when its minute comes."""
    template = job("unnamed", container("echo", "done"))["spec"]
    specification = {"schedule": "* * * * *", "jobTemplate": {"spec": template}}
    cluster.apply({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "tick"}, "spec": specification})
    cluster.kubectl("create", "job", "now", "--from=cronjob/tick")
    cluster.wait("job/now", "condition=Complete")
    assert cluster.logs("job/now") == "done\n"

    cluster.wait("cronjob/tick", "jsonpath={.status.lastScheduleTime}")
    scheduled = next(name for name in names(cluster.json("jobs")["items"]) if name.startswith("tick-"))
    cluster.wait(f"job/{scheduled}", "condition=Complete")
    assert cluster.logs(f"job/{scheduled}") == "done\n"
