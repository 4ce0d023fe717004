"""`--control-plane-only`: for anybody, several side by side, enough for charts and manifests."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.harness import BUILD
from tests.harness.environment import Environment
from tests.harness.rootfs import USER_ID
from tests.scenario.cluster import PATIENCE
from tests.scenario.environments import ENVIRONMENTS, fresh

pytestmark = pytest.mark.one_root("9p")

CHARTS = Path(__file__).parent.parent / "charts"
BINDS = {CHARTS: "/charts", BUILD / "tools": "/tools"}


@pytest.fixture(scope="module", params=ENVIRONMENTS)
def environment(request: pytest.FixtureRequest) -> Iterator[Environment]:
    """An environment of this module's own, with helm and a chart; the tests are an ordinary user there."""
    with fresh(request.param, BINDS) as started:
        before = started.snapshot()
        yield started
        # helm's own.
        started.run(["rm", "-rf", "/home/user/.cache", "/home/user/.kube/cache"])
        started.run(["rmdir", "/home/user/.kube"])
        assert started.changes_since(before) == ""


def run(environment: Environment, *arguments: str, timeout: float = PATIENCE, **variables: str) -> str:
    """The output of a command that the user runs."""
    return environment.run(arguments, user=USER_ID, variables=variables, timeout=timeout).stdout


def result(environment: Environment, *arguments: str) -> Any:
    """The result of a kins command that the user runs."""
    return json.loads(run(environment, "kins", *arguments, "--output", "json"))["result"]


def test_two_side_by_side(environment: Environment) -> None:
    """Each has its own objects, ports and context; removing one leaves the other."""
    servers = {name: result(environment, "up", name, "--control-plane-only")["server"] for name in ("one", "two")}
    assert len(set(servers.values())) == 2
    try:
        run(environment, "kins", "kubectl", "one", "--", "create", "configmap", "only-in-one")
        found = {
            name: run(environment, "kins", "kubectl", name, "--", "get", "configmaps", "--output=name")
            for name in servers
        }
        assert "only-in-one" in found["one"]
        assert "only-in-one" not in found["two"]
        contexts = run(
            environment,
            "kins",
            "kubectl",
            "two",
            "--",
            "config",
            "get-contexts",
            "--output=name",
            KUBECONFIG="/home/user/.kube/config",
        )
        assert contexts.split() == ["kins-two"], "`kins kubectl` sees its own cluster alone"
        merged = Path("/home/user/.kube/config")
        assert "current-context: kins-two" in run(environment, "cat", str(merged))
        assert run(environment, "stat", "--format=%a", str(merged)).strip() == "600"
        assert [each["name"] for each in result(environment, "list")] == ["one", "two"]
        for name in servers:
            status = result(environment, "status", name)
            assert status["healthy"], status
            assert (status["level"], status["node"]) == ("control-plane", None)
        run(environment, "kins", "down", "one")
        assert result(environment, "status", "two")["healthy"]
        assert "kins-one" not in run(environment, "cat", str(merged))
    finally:
        run(environment, "kins", "down", "--all")


def test_helm_installs_a_chart(environment: Environment) -> None:
    """Install, upgrade, roll back and uninstall a chart with a CRD, a Deployment and rights, through the current
    context."""
    run(environment, "kins", "up", "--control-plane-only")
    try:
        run(environment, "/tools/helm", "install", "web", "/charts/web")
        get = ("kins", "kubectl", "get", "--output=jsonpath={.data.GREETING}", "configmap/web")
        assert run(environment, *get) == "hello"
        run(environment, "/tools/helm", "upgrade", "web", "/charts/web", "--set", "greeting=good day")
        assert run(environment, *get) == "good day"
        # Made by the controllers, not by helm: they run, and the ReplicaSet's pod waits for a node.
        run(environment, "kins", "kubectl", "wait", "--for=create", "pod", "--selector=app=web", "--timeout=60s")
        listed = json.loads(run(environment, "/tools/helm", "list", "--output", "json"))
        assert [(each["name"], each["status"], each["revision"]) for each in listed] == [("web", "deployed", "2")]
        run(environment, "/tools/helm", "rollback", "web", "1")
        assert run(environment, *get) == "hello"
        run(environment, "/tools/helm", "uninstall", "web")
        assert "web" not in run(environment, "kins", "kubectl", "get", "deployments", "--output=name")
    finally:
        run(environment, "kins", "down")


def test_a_killed_component_comes_back(environment: Environment) -> None:
    """Each of the four, without a pid namespace to end in."""
    run(environment, "kins", "up", "--control-plane-only")
    try:
        for name in ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"):
            components = {each["name"]: each for each in result(environment, "status")["components"]}
            run(environment, "kill", "-KILL", str(components[name]["pid"]))
            for _ in range(200):
                answer = environment.run(["kins", "status", "--output", "json"], user=USER_ID, check=False).stdout
                found = {each["name"]: each for each in json.loads(answer)["result"]["components"]}
                if found[name]["restarts"] == 1 and json.loads(answer)["result"]["healthy"]:
                    break
            else:
                raise AssertionError(answer)
        run(environment, "kins", "kubectl", "create", "configmap", "after-all")
    finally:
        run(environment, "kins", "down")


def test_claims_are_bound_without_a_node_and_outlive_a_stop(environment: Environment) -> None:
    """At once, as no pod will ever come; the volume is a directory of the user's, which goes with the claim."""
    run(environment, "kins", "up", "--control-plane-only")
    try:
        claim = {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "data"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
        }
        apply = ("kins", "kubectl", "apply", "--filename=-")
        environment.run(apply, user=USER_ID, text=json.dumps(claim))
        wait = ("kins", "kubectl", "wait", "--timeout=60s")
        run(environment, *wait, "--for=jsonpath={.status.phase}=Bound", "pvc/data")
        (volume,) = json.loads(run(environment, "kins", "kubectl", "get", "pv", "--output=json"))["items"]
        assert "nodeAffinity" not in volume["spec"]
        directory = volume["spec"]["hostPath"]["path"]
        run(environment, "touch", f"{directory}/file")
        assert result(environment, "stop") == [{"name": "default", "outcome": "stopped"}]
        assert "kins-engine" not in environment.output("ps", "-eo", "args")
        assert result(environment, "start")["outcome"] == "started"
        run(environment, "kins", "kubectl", "delete", "pvc/data")
        run(environment, *wait, "--for=delete", f"pv/{volume['metadata']['name']}")
        environment.run(["test", "!", "-e", directory])
    finally:
        run(environment, "kins", "down")


def test_a_killed_supervisor_takes_its_components_along(environment: Environment) -> None:
    """Nothing runs on unsupervised; the next `up` brings the objects back."""
    run(environment, "kins", "up", "--control-plane-only")
    run(environment, "kins", "kubectl", "create", "configmap", "kept")
    record = run(environment, "cat", "/home/user/.local/share/kins/clusters/default/supervisor.json")
    run(environment, "kill", "-KILL", str(json.loads(record)["pid"]))
    for _ in range(100):
        if "kins-engine" not in environment.output("ps", "-eo", "args"):
            break
    else:
        raise AssertionError(environment.output("ps", "-ef"))
    assert result(environment, "up")["outcome"] == "recovered"
    assert "kept" in run(environment, "kins", "kubectl", "get", "configmaps", "--output=name")
    run(environment, "kins", "down")
