"""The watch of a running cluster: minutes under load, what it sees when something breaks, how it ends early."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from tests.harness.environment import Environment
from tests.scenario.cluster import PATIENCE
from tests.scenario.environments import fresh

MINUTES = float(os.environ.get("KINS_TEST_SOAK_MINUTES", "5"))
STARTS_AN_HOUR = 2000

pytestmark = [pytest.mark.sandbox, pytest.mark.xdist_group("soak")]


@pytest.fixture(scope="module")
def environment() -> Iterator[Environment]:
    """A sandbox with a node; after its end nothing is left in it."""
    with fresh("gvisor-overlay") as started:
        before = started.snapshot()
        started.kins("up", timeout=PATIENCE + 10)
        yield started
        started.kins("down", timeout=PATIENCE)
        # The reports of these tests are all that may be different.
        started.run(["rm", "-rf", "/tmp/soak"])
        assert started.changes_since(before) == ""


def watched(environment: Environment, *arguments: str, minutes: float) -> tuple[int, dict[str, Any]]:
    """Exit status and report of a watch."""
    command = ["soak", "--minutes", f"{minutes:g}", "--output", "json", *arguments]
    done = environment.kins(*command, timeout=60 * minutes + 300, check=False)
    envelope = json.loads(done.stdout)
    assert envelope["ok"], done.stdout + done.stderr
    return done.returncode, envelope["result"]


def namespaces(environment: Environment, *cluster: str) -> str:
    return environment.kins("kubectl", *cluster, "get", "namespaces", "--output=name").stdout


@pytest.mark.timeout(60 * MINUTES + 600)
def test_minutes_under_load(environment: Environment) -> None:
    code, report = watched(environment, "--report", "/tmp/soak", minutes=MINUTES)
    assert (code, report["causes"]) == (0, [])
    assert report["node"]["breaks"] == []
    assert report["restarts"] == []
    assert report["memory_cache_errors"] == 0
    assert report["churn"]["starts"] >= 0.9 * STARTS_AN_HOUR * MINUTES / 60
    assert report["churn"]["failures"] == []
    assert report["api"]["failures"] == 0
    assert report["api"]["requests"] >= 30 * MINUTES
    subjects = {trend["subject"] for trend in report["trends"] if trend["quantity"] == "cpu"}
    assert subjects >= {"etcd", "kube-apiserver", "containerd", "kubelet", "supervisor"}
    assert all(trend["mean"] > 0 for trend in report["trends"] if trend["quantity"] == "memory")
    written = environment.output("ls", "/tmp/soak").split()
    assert {"report.md", "report.json", "memory.svg", "cpu.svg"} <= set(written)
    assert json.loads(environment.output("cat", "/tmp/soak/report.json")) == report
    assert "kins-soak" not in namespaces(environment)


def test_a_kubelet_that_dies_is_seen(environment: Environment) -> None:
    pids = {each["name"]: each["pid"] for each in environment.kins_json("status")["components"]}
    with environment.spawn(["kins", "soak", "--minutes", "0.6", "--output", "json"]) as soak:
        environment.run(["sleep", "10"])
        environment.run(["kill", "-9", str(pids["kubelet"])])
        code, output = soak.finish(timeout=240)
    report = json.loads(output)["result"]
    assert code == 1
    assert [(each["component"], each["count"]) for each in report["restarts"]] == [("kubelet", 1)]
    assert "component-restarted" in {cause["code"] for cause in report["causes"]}


def test_ctrl_c_gives_the_report_of_what_was_seen(environment: Environment) -> None:
    with environment.spawn(["kins", "soak", "--minutes", "60", "--output", "json"]) as soak:
        environment.run(["sleep", "15"])
        soak.kill(signal.SIGINT)
        code, output = soak.finish(timeout=180)
    report = json.loads(output)["result"]
    assert report["interrupted"]
    assert 3 < report["seconds"] < 60
    assert code == (0 if report["healthy"] else 1)
    assert "kins-soak" not in namespaces(environment)


def test_a_killed_watch_is_followed_by_one_that_clears_up(environment: Environment) -> None:
    with environment.spawn(["kins", "soak", "--minutes", "60"]) as soak:
        environment.run(["sleep", "10"])
        soak.kill(signal.SIGKILL)
        soak.finish(timeout=60)
    assert "kins-soak" in namespaces(environment)
    code, report = watched(environment, minutes=0.2)
    assert (code, report["causes"]) == (0, [])
    assert "kins-soak" not in namespaces(environment)


def test_one_watch_at_a_time(environment: Environment) -> None:
    with environment.spawn(["kins", "soak", "--minutes", "60", "--churn", "0"]) as soak:
        environment.run(["sleep", "5"])
        done = environment.kins("soak", "--minutes", "1", "--output", "json", check=False)
        soak.kill(signal.SIGINT)
        soak.finish(timeout=60)
    assert done.returncode == 1
    assert json.loads(done.stdout)["error"]["code"] == "soak-running"


def test_a_control_plane_is_watched_with_deployments(environment: Environment) -> None:
    environment.kins("up", "plain", "--control-plane-only", timeout=PATIENCE)
    code, report = watched(environment, "plain", minutes=0.5)
    environment.kins("down", "plain", timeout=PATIENCE)
    assert (code, report["causes"]) == (0, [])
    assert (report["level"], report["node"], report["churn"]["kind"]) == ("control-plane", None, "deployments")
    assert report["churn"]["starts"] >= 15


def test_a_cluster_that_does_not_run(environment: Environment) -> None:
    done = environment.kins("soak", "nothing", "--minutes", "1", "--output", "json", check=False)
    assert done.returncode == 1
    assert json.loads(done.stdout)["error"]["code"] == "no-such-cluster"
