"""What each level promises, done with a cluster as its user does it. An error says which promise was not kept."""

from __future__ import annotations

from collections.abc import Callable

from tests.harness.environment import Environment
from tests.harness.images import SHELL
from tests.scenario.cluster import PATIENCE, Cluster, Kubectl
from tests.scenario.manifests import pod, script

HELM_HOMES = ("HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME")
REPLICAS = 2


def keep(level: str, environment: Environment, user: int) -> None:
    """Do what the cluster's level promises, in its namespace `default`."""
    cluster = Cluster(environment, "default", Kubectl.of(environment, user))
    PROMISES[level](cluster, user)


def keep_node(cluster: Cluster, user: int) -> None:
    """Pods with logs and exec, and one finds the other by the name of its Service."""
    environment = cluster.environment
    environment.kins("image", "load", f"/images/{SHELL.archive.name}", user=user, timeout=PATIENCE)
    answer = "printf 'HTTP/1.0 200 OK\\r\\nConnection: close\\r\\n\\r\\nhello' | nc -l -N 8080"
    server = script(f"echo started; while true; do {answer} > /dev/null; done", ports=[{"containerPort": 8080}])
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]},
    }
    cluster.apply(pod("web", server, metadata={"labels": {"app": "web"}}), service, pod("client"))
    cluster.ready("web", "client")
    assert cluster.logs("pod/web") == "started\n"
    assert cluster.execute("client", "sh", "-c", "echo $((6 * 7))") == "42\n"
    retry = ("--retry", "30", "--retry-all-errors", "--retry-delay", "1", "--max-time", "60")
    assert cluster.execute("client", "curl", "--silent", "--fail", *retry, "http://web.default") == "hello"
    cluster.delete("pod/web", "pod/client")


def keep_fake(cluster: Cluster, user: int) -> None:
    """A chart is installed with --wait, and its Deployment is available, on nodes that say what they are."""
    helm(cluster, user, "install", "web", "/charts/web", f"--set=replicas={REPLICAS}", "--wait", "--timeout=2m")
    status = cluster.json("deployment/web")["status"]
    assert status["availableReplicas"] == REPLICAS
    nodes = cluster.json("nodes")["items"]
    assert {node["metadata"]["annotations"]["kwok.x-k8s.io/node"] for node in nodes} == {"fake"}
    helm(cluster, user, "uninstall", "web")


def helm(cluster: Cluster, user: int, *arguments: str) -> None:
    """Run helm on the cluster, whose own files it leaves in a directory that goes afterwards."""
    environment = cluster.environment
    told = Kubectl.of(environment, user).variables
    home = environment.run(["mktemp", "--directory"], user=user).stdout.strip()
    variables = {**told, **dict.fromkeys(HELM_HOMES, home), "KUBECACHEDIR": home}
    environment.run(["/tools/helm", *arguments], user=user, variables=variables, timeout=PATIENCE + 10)
    environment.run(["rm", "-r", home], user=user)


PROMISES: dict[str, Callable[[Cluster, int], None]] = {
    "node": keep_node,
    "fake": keep_fake,
}
