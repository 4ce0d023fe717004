"""`kins up` asked in every way, and the commands around a running cluster."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.harness.environment import Environment
from tests.scenario.cluster import PATIENCE
from tests.scenario.environments import ENVIRONMENTS, fresh

HOME = "/root/.local/share/kins/clusters"


@pytest.fixture(scope="module", params=ENVIRONMENTS[:2])
def environment(request: pytest.FixtureRequest) -> Iterator[Environment]:
    """An environment of this module's own; after the tests it is as it was."""
    with fresh(request.param) as started:
        before = started.snapshot()
        yield started
        assert started.changes_since(before) == ""


@pytest.fixture(scope="module")
def running(environment: Environment) -> Iterator[Environment]:
    """The environment with a cluster that was not waited for at first, and got a flag for a component."""
    early = up(environment, "--no-wait", "--arg", "kube-scheduler:v=3")
    assert [event["phase"] for event in early["events"]][-1] == "prepared"
    joined = up(environment)
    assert (joined["outcome"], joined["events"][-1]["phase"]) == ("already-running", "ready")
    yield environment
    environment.kins("down", timeout=PATIENCE)


def up(environment: Environment, *arguments: str) -> dict[str, Any]:
    """The result of a `kins up` that succeeds."""
    result: dict[str, Any] = environment.kins_json("up", *arguments, timeout=PATIENCE + 10)
    return result


def refused(environment: Environment, *arguments: str, status: int = 1) -> dict[str, Any]:
    """The error of a command that must fail."""
    answer = environment.kins(*arguments, "--output", "json", timeout=PATIENCE + 10, check=False)
    assert answer.returncode == status, answer
    envelope = json.loads(answer.stdout)
    assert envelope["ok"] is False
    error: dict[str, Any] = envelope["error"]
    assert error["hint"], error
    return error


def test_again_says_so(running: Environment) -> None:
    """For people in one sentence, with exit status 0."""
    assert "already running" in running.kins("up").stdout


def test_another_node_is_refused_before_anything_is_touched(running: Environment) -> None:
    """One node in a sandbox; a control plane beside it is welcome."""
    before = running.snapshot()
    writing = [f"files: {HOME}/default/*"]
    assert refused(running, "up", "second")["code"] == "node-exists"
    assert running.changes_since(before, ignoring=writing) == ""
    assert up(running, "second", "--control-plane-only")["level"] == "control-plane"
    running.kins("down", "second")
    running.kins("kubeconfig", "merge")  # the current context was the second one's, and none is after that
    assert running.changes_since(before, ignoring=writing) == ""


def test_other_wishes_are_refused(running: Environment) -> None:
    """The running cluster is not what is asked for, and it is not changed."""
    assert refused(running, "up", "--control-plane-only")["code"] == "cluster-differs"
    assert refused(running, "up", "--arg", "etcd:snapshot-count=7")["code"] == "cluster-differs"
    assert refused(running, "up", "--kubelet", "no-cgroups")["code"] == "cluster-differs"
    assert refused(running, "up", "-p", "8080:30080")["code"] == "cluster-differs"
    without_node = ("up", "--kubelet", "stock", "--control-plane-only")
    assert refused(running, *without_node, status=2)["code"] == "needs-node"
    same = running.kins_json("status")["kubelet"]["kind"]
    assert up(running, "--kubelet", same)["outcome"] == "already-running"
    assert refused(running, "up", "--arg", "etdc:snapshot-count=7", status=2)["code"] == "unknown-component"
    assert refused(running, "up", "No_Name", status=2)["code"] == "invalid-name"


def test_status_says_all(running: Environment) -> None:
    """Level, API, node, and of each component state, pid, age, restarts and memory; the flag has arrived."""
    status = running.kins_json("status")
    assert (status["state"], status["level"], status["healthy"]) == ("running", "node", True)
    assert status["api"]["ready"]
    assert (status["node"]["name"], status["node"]["ready"]) == ("kins-default", True)
    names = ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "containerd", "kubelet"]
    names += ["egress", "service-proxy", "coredns", "provisioner", "metrics-server"]
    assert sorted(each["name"] for each in status["components"]) == sorted(names)
    for each in status["components"]:
        assert each["uptime_seconds"] > 0
        assert each["memory_bytes"] > 1 << 20
        arguments = running.output("cat", f"/proc/{each['pid']}/cmdline").split("\0")
        assert any(each["name"] in argument for argument in arguments), arguments
        assert ("--v=3" in arguments) == (each["name"] == "kube-scheduler")
    text = running.kins("status").stdout
    assert all(name in text for name in names)
    assert [each["state"] for each in running.kins_json("list")] == ["running"]


def test_logs(running: Environment) -> None:
    """Of one component, of all, and what is written from now on."""
    assert len(running.kins("logs", "kube-scheduler", "--tail", "3").stdout.splitlines()) == 3
    assert running.kins("logs", "--tail", "1").stdout.count("kubelet: ") == 1
    with running.spawn(["kins", "logs", "kubelet", "--follow"]) as following:
        running.kins("kubectl", "run", "no-image", "--image=kins-test/absent:1", "--image-pull-policy=Never")
        following.line_with("no-image")
    running.kins("kubectl", "delete", "pod", "no-image", "--grace-period=1")


def test_kubeconfig_commands(running: Environment) -> None:
    """The bundled kubectl works with each of the three kubeconfigs that a user can have."""
    running.write("/tmp/one", running.kins("kubeconfig", "get").stdout)
    running.run(["kins", "kubeconfig", "merge"], variables={"KUBECONFIG": "/tmp/two"})
    engine = "/opt/kins/lib/python3.11/site-packages/kins/_bin/kins-engine"
    for path in ("/root/.kube/config", "/tmp/one", "/tmp/two"):
        command = [engine, "kubectl", f"--kubeconfig={path}", "--cache-dir=/tmp/cache", "get", "nodes", "--output=name"]
        assert running.output(*command) == "node/kins-default\n"
    assert running.output("stat", "--format=%a", "/tmp/two") == "600\n"
    running.run(["kins", "kubeconfig", "remove"], variables={"KUBECONFIG": "/tmp/two"})
    running.run(["rm", "-r", "/tmp/one", "/tmp/cache"])
    running.run(["test", "!", "-e", "/tmp/two"])


def test_images_need_a_node_and_an_archive(running: Environment) -> None:
    """A bad archive changes nothing, also when a good one stands before it."""
    running.write("/tmp/bad.tar", "no archive")
    error = refused(running, "image", "load", "/images/shell.tar", "/tmp/bad.tar", status=2)
    assert error["code"] == "not-an-image"
    assert "/tmp/bad.tar" in error["message"]
    running.run(["rm", "/tmp/bad.tar"])


def test_a_failed_cluster_is_removed_or_retained(environment: Environment) -> None:
    """A flag that a component refuses: the error carries its own words."""
    broken = ("up", "broken", "--control-plane-only", "--arg", "kube-apiserver:no-such-flag=1")
    error = refused(environment, *broken)
    assert error["code"] == "component-failed"
    assert "no-such-flag" in error["message"]
    assert environment.run(["ls", HOME], check=False).stdout.split() in ([], ["default"])
    refused(environment, *broken, "--retain")
    assert "no-such-flag" in environment.kins("logs", "kube-apiserver", "--name", "broken").stdout
    environment.kins("down", "broken", timeout=PATIENCE)


def test_too_little_time(environment: Environment) -> None:
    """Says how far it came, and leaves nothing."""
    error = refused(environment, "up", "slow", "--control-plane-only", "--timeout", "1s")
    assert error["code"] == "timeout"
    assert "slow" not in environment.run(["ls", HOME], check=False).stdout.split()
