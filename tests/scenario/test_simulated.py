"""Simulated nodes: controllers and the scheduler take them for nodes, and nobody else can."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.harness.environment import Environment
from tests.harness.images import SHELL
from tests.harness.rootfs import USER_ID
from tests.scenario.cluster import NODE, PATIENCE, Cluster, Kubectl, Object, eventually
from tests.scenario.environments import fresh
from tests.scenario.manifests import job, pod, workload

# Simulated nodes ask nothing of a sandbox: one kind of it is enough here, and the others are in test_matrix.py.
pytestmark = [pytest.mark.sandbox, pytest.mark.xdist_group("gvisor-overlay")]

MARK = "kwok.x-k8s.io/node"
NODES = ["default-fake-0", "default-fake-1"]
TOLERATIONS = [{"key": MARK, "operator": "Exists", "effect": "NoSchedule"}]


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Environment]:
    """An environment of this module's own."""
    with fresh("gvisor-overlay") as started:
        yield started


@pytest.fixture(scope="module")
def simulated(sandbox: Environment) -> Iterator[Cluster]:
    """A cluster of an ordinary user with two simulated nodes alone; after its end everything is as before."""
    before = sandbox.snapshot()
    up = sandbox.kins_json("up", "--level", "fake", "--fake-nodes", "2", user=USER_ID, timeout=PATIENCE + 10)
    assert (up["level"], up["fake_nodes"], up["missing"]) == ("fake", 2, []), up
    yield Cluster(sandbox, "default", Kubectl.of(sandbox, USER_ID))
    sandbox.kins("down", user=USER_ID, timeout=PATIENCE)
    assert sandbox.changes_since(before) == ""


def test_beside_a_real_node(sandbox: Environment) -> None:
    """Pods go to the real one, unless they tolerate the other; a volume goes with either. Before the others: there is
    no other cluster yet."""
    before = sandbox.snapshot()
    up = sandbox.kins_json("up", "--fake-nodes", "1", timeout=PATIENCE + 10)
    assert (up["level"], up["fake_nodes"]) == ("node", 1), up
    sandbox.kins("image", "load", f"/images/{SHELL.archive.name}", timeout=PATIENCE)
    cluster = Cluster(sandbox, "default", Kubectl.of(sandbox))
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]
    cluster.apply(
        claim,
        pod("real"),
        pod("simulated", tolerations=TOLERATIONS, nodeSelector={"type": "kwok"}, volumes=volumes),
    )
    cluster.ready("real", "simulated")
    where = {name: cluster.json(f"pod/{name}")["spec"]["nodeName"] for name in ("real", "simulated")}
    assert where == {"real": NODE, "simulated": NODES[0]}
    assert cluster.execute("real", "echo", "runs") == "runs\n"
    assert "is simulated" in cluster.kubectl("exec", "simulated", "--", "true", check=False).stderr
    status = sandbox.kins_json("status")
    assert status["healthy"], status
    assert status["node"]["name"] == NODE
    assert [each["name"] for each in status["simulated"]] == NODES[:1]
    cluster.delete("pod/real", "pod/simulated", "pvc/data")
    sandbox.kins("down", timeout=PATIENCE)
    assert sandbox.changes_since(before) == ""


def service(name: str) -> Object:
    """In front of the pods of a workload."""
    specification = {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": 8080}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": specification}


def endpoints(cluster: Cluster, name: str) -> set[str]:
    """The addresses of a Service that are ready."""
    found = cluster.json("endpointslices", f"--selector=kubernetes.io/service-name={name}")["items"]
    return {
        address
        for each in found
        for endpoint in each["endpoints"] or ()
        if endpoint["conditions"]["ready"]
        for address in endpoint["addresses"]
    }


def addresses(cluster: Cluster, name: str) -> list[str]:
    """Of the pods of a workload."""
    return [each["status"]["podIP"] for each in cluster.pods(f"app={name}")]


def test_nodes_say_what_they_are(simulated: Cluster) -> None:
    """To kubectl's user, to programs, and in kins' own words."""
    assert [each["metadata"]["name"] for each in simulated.json("nodes")["items"]] == NODES
    assert {each["metadata"]["annotations"][MARK] for each in simulated.json("nodes")["items"]} == {"fake"}
    lines = [line.split() for line in simulated.kubectl("get", "nodes", "--no-headers").stdout.splitlines()]
    assert [(status, roles) for _, status, roles, *_ in lines] == [("Ready", "fake")] * 2
    assert all(version.startswith("kwok") for *_, version in lines)
    status = simulated.environment.kins_json("status", user=USER_ID)
    assert (status["level"], status["node"], status["healthy"]) == ("fake", None, True), status
    assert [(each["name"], each["ready"]) for each in status["simulated"]] == [(name, True) for name in NODES]
    assert "simulated" in {limit.partition(":")[0] for limit in status["limits"]}
    text = simulated.environment.kins("status", user=USER_ID).stdout
    assert "SIMULATED nodes: 2, Ready: 2; nothing in their pods runs" in text


def test_workloads_roll_out_behind_a_service(simulated: Cluster) -> None:
    """Each pod runs on a simulated node, has an address of its own, and says that it is simulated."""
    simulated.apply(workload("Deployment", "web", replicas=3), service("web"))
    simulated.roll_out("deployment/web")
    pods = simulated.pods("app=web")
    assert {each["status"]["phase"] for each in pods} == {"Running"}
    assert {each["spec"]["nodeName"] for each in pods} == set(NODES), "spread, as the scheduler does it"
    assert all("simulated" in each["status"]["message"] for each in pods)
    eventually(lambda: len(simulated.pods(f"app=web,{MARK}=fake")) == 3)
    found = set(addresses(simulated, "web"))
    assert len(found) == 3
    eventually(lambda: endpoints(simulated, "web") == found)
    events = simulated.json("events", "--field-selector=reason=Simulated")["items"]
    assert {each["involvedObject"]["name"] for each in events} >= {each["metadata"]["name"] for each in pods}


def test_pods_that_end_complete(simulated: Cluster) -> None:
    """A Job's, one after the other, and one of nobody, as a chart's test is."""
    simulated.apply(job("work", completions=2), pod("check", restartPolicy="Never"))
    simulated.wait("job/work", "condition=Complete")
    simulated.phase("Succeeded", "check")
    assert simulated.json("job/work")["status"]["succeeded"] == 2


def test_claims_are_bound(simulated: Cluster) -> None:
    """As without any node; the StatefulSet's pods come one after the other."""
    template = {
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    simulated.apply(workload("StatefulSet", "store", replicas=2, volumeClaimTemplates=[template]))
    simulated.roll_out("statefulset/store")
    simulated.wait("pvc/data-store-0 pvc/data-store-1", "jsonpath={.status.phase}=Bound")


def test_the_scheduler_keeps_to_taints_and_sizes(simulated: Cluster) -> None:
    first, second = NODES
    simulated.kubectl("taint", "nodes", first, "test=yes:NoSchedule")
    huge = pod("huge")
    huge["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "2000"}}
    simulated.apply(workload("Deployment", "elsewhere", replicas=2), huge)
    simulated.roll_out("deployment/elsewhere")
    assert {each["spec"]["nodeName"] for each in simulated.pods("app=elsewhere")} == {second}
    simulated.wait("pod/huge", "condition=PodScheduled=false")
    assert simulated.json("pod/huge")["status"]["phase"] == "Pending"
    simulated.kubectl("taint", "nodes", first, "test-")


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        (("logs", "alone"), "it has no logs"),
        (("exec", "alone", "--", "true"), "no command can be executed in it"),
        (("attach", "alone"), "there is nothing to attach to"),
        (("port-forward", "alone", ":80"), "none of its ports is open"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_who_asks_a_pod_is_told_what_it_is(simulated: Cluster, command: tuple[str, ...], answer: str) -> None:
    simulated.apply(pod("alone"))
    simulated.ready("alone")
    done = simulated.kubectl(*command, check=False)
    assert done.returncode != 0
    assert f"pod default/alone is simulated: {answer}" in done.stderr, done.stderr


def test_addresses_are_not_given_twice(simulated: Cluster) -> None:
    """Not even by a simulator that has just started: it looks at the pods that are there."""
    simulated.apply(workload("Deployment", "old", replicas=3))
    simulated.roll_out("deployment/old")
    (kwok,) = (
        each for each in simulated.environment.kins_json("status", user=USER_ID)["components"] if each["name"] == "kwok"
    )
    simulated.environment.run(["kill", "-KILL", str(kwok["pid"])])
    simulated.apply(workload("Deployment", "new", replicas=3))
    simulated.roll_out("deployment/new")
    assert len({*addresses(simulated, "old"), *addresses(simulated, "new")}) == 6
