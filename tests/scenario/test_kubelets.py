"""The node scenario with the kubelets that `kins up` does not take by itself in gVisor: upstream's, in its own view of
the control groups, and the one that keeps no control groups. All other scenarios there run without cAdvisor."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.harness.environment import Environment
from tests.harness.images import SHELL
from tests.scenario import test_statistics
from tests.scenario.cluster import PATIENCE, Cluster, Kubectl, eventually
from tests.scenario.environments import fresh
from tests.scenario.manifests import pod
from tests.scenario.test_containers import test_graceful_termination
from tests.scenario.test_kubectl import test_exec, test_logs_follow
from tests.scenario.test_recovery import component
from tests.scenario.test_statistics import test_capacity, test_more_than_there_is
from tests.scenario.test_volumes import test_config_map_and_secret

pytestmark = pytest.mark.one_root("9p")

# The same text for other clusters: this module's fixtures stand in for the session's.
__all__ = [
    "test_capacity",
    "test_config_map_and_secret",
    "test_exec",
    "test_graceful_termination",
    "test_logs_follow",
    "test_more_than_there_is",
]

KUBELETS = [
    pytest.param((root, kind), id=f"gvisor-{root}-{kind}", marks=[pytest.mark.sandbox, pytest.mark.xdist_group(group)])
    for root, kind, group in (
        ("overlay", "no-cgroups", "gvisor-overlay"),
        ("overlay", "stock", "gvisor-overlay"),
        # The kubelet's directory is on a file system that cAdvisor knows by our plugin alone.
        ("9p", "stock", "gvisor-9p"),
    )
]


@pytest.fixture(scope="module", params=KUBELETS)
def kubelet(request: pytest.FixtureRequest) -> tuple[str, str]:
    """The sandbox's root and the kubelet's kind."""
    chosen: tuple[str, str] = request.param
    return chosen


@pytest.fixture(scope="module")
def environment(kubelet: tuple[str, str]) -> Iterator[Environment]:
    """A sandbox of this module's own."""
    with fresh(f"gvisor-{kubelet[0]}") as started:
        yield started


@pytest.fixture(scope="module")
def kubectl(environment: Environment, kubelet: tuple[str, str]) -> Iterator[Kubectl]:
    """A cluster with that kubelet; after its end the sandbox is as it was."""
    before = environment.snapshot()
    environment.kins_json("up", "--kubelet", kubelet[1], timeout=PATIENCE + 10)
    chosen = environment.kins_json("status")["kubelet"]
    assert (chosen["kind"], chosen["view"]) == (kubelet[1], kubelet[1] == "stock")
    environment.kins("image", "load", f"/images/{SHELL.archive.name}", timeout=PATIENCE)
    yield Kubectl.of(environment)
    environment.kins("down", timeout=PATIENCE)
    assert environment.changes_since(before) == ""


def test_figures(cluster: Cluster, kubelet: tuple[str, str]) -> None:
    """Of containers and pods without control groups of their own; upstream's kubelet tells in gVisor of the node alone,
    because pods' groups have none of the files that cAdvisor wants."""
    if kubelet[1] == "stock":
        node = test_statistics.summary(cluster)["node"]
        assert test_statistics.figure(node, "cpu", "usageCoreNanoSeconds") > 0
        assert test_statistics.figure(node, "fs", "availableBytes") > 0
        return
    test_statistics.test_summary(cluster)
    test_statistics.test_metrics(cluster)


def test_the_kubelet_comes_back(cluster: Cluster, environment: Environment) -> None:
    """Killed, it finds its pods again and starts new ones."""
    cluster.apply(pod("old"))
    cluster.ready("old")
    before = component(environment, "kubelet")
    environment.run(["kill", "-KILL", str(before["pid"])])
    eventually(lambda: component(environment, "kubelet")["pid"] not in (before["pid"], None))
    cluster.apply(pod("new"))
    cluster.ready("new")
    assert cluster.execute("old", "echo", "here") == "here\n"
    assert cluster.json("pod/old")["status"]["containerStatuses"][0]["restartCount"] == 0
    cluster.delete("pod/old", "pod/new")
