"""The node scenario without the mounts that interception and emulated control groups replace: kins up --with."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.harness.environment import Environment
from tests.harness.images import IMAGES
from tests.scenario.cluster import PATIENCE, Cluster, Kubectl, eventually
from tests.scenario.environments import fresh
from tests.scenario.manifests import pod, script
from tests.scenario.test_containers import test_exit_codes, test_graceful_termination, test_init_and_sidecar_containers
from tests.scenario.test_kubectl import test_copy, test_exec, test_logs_follow, test_port_forward
from tests.scenario.test_network import test_address, test_host_network
from tests.scenario.test_probes import test_readiness, test_startup_and_liveness
from tests.scenario.test_recovery import component, status
from tests.scenario.test_statistics import test_capacity, test_summary
from tests.scenario.test_volumes import test_config_map_and_secret, test_empty_dir, test_projected_tokens
from tests.scenario.test_workloads import test_deployment, test_job, test_stateful_set

# The same text for other clusters: this module's fixtures stand in for the session's.
__all__ = [
    "test_address",
    "test_capacity",
    "test_config_map_and_secret",
    "test_copy",
    "test_deployment",
    "test_empty_dir",
    "test_exec",
    "test_exit_codes",
    "test_graceful_termination",
    "test_host_network",
    "test_init_and_sidecar_containers",
    "test_job",
    "test_logs_follow",
    "test_port_forward",
    "test_projected_tokens",
    "test_readiness",
    "test_startup_and_liveness",
    "test_stateful_set",
    "test_summary",
]

pytestmark = pytest.mark.one_root("9p")

# How the command line of what a component really is begins: that of the tracer before it begins otherwise.
PROGRAMS = {
    "cgroupfs": "^[^ ]*python.* -m kins.cgroupfs",
    "kubelet": "^[^ ]*_bin/kins-engine kubelet ",
    "containerd": "^[^ ]*_bin/containerd --config=",
}

ROOTS = [
    pytest.param(root, id=f"gvisor-{root}-with", marks=[pytest.mark.sandbox, pytest.mark.xdist_group(f"with-{root}")])
    for root in ("overlay", "9p")
]


MEGABYTE = 1 << 20


def hold(size: int) -> str:
    """A script whose one process holds memory: tail keeps what may belong to the last line."""
    return f"exec tail < <(head -c {size} /dev/zero; sleep 1000)"


@pytest.fixture(scope="module", params=ROOTS)
def environment(request: pytest.FixtureRequest) -> Iterator[Environment]:
    """A sandbox of this module's own."""
    with fresh(f"gvisor-{request.param}") as started:
        yield started


@pytest.fixture(scope="module")
def kubectl(environment: Environment) -> Iterator[Kubectl]:
    """A cluster of a node that mounts neither settings nor control groups; after its end the sandbox is as it was."""
    before = environment.snapshot()
    up = environment.kins_json("up", "--level", "node", "--with", "intercept,cgroupfs", timeout=PATIENCE + 10)
    assert (up["level"], up["missing"]) == ("node", [])
    archives = [f"/images/{image.archive.name}" for image in IMAGES]
    environment.kins("image", "load", *archives, timeout=PATIENCE)
    yield Kubectl.of(environment)
    environment.kins("down", timeout=PATIENCE)
    assert environment.changes_since(before) == ""


def test_neither_is_mounted(cluster: Cluster, environment: Environment) -> None:
    """In the node's own mount namespace there is one FUSE file system, and the kernel's settings are seen as they are;
    the kubelet is upstream's with cAdvisor, which sees control groups."""
    found = status(environment)
    assert found["healthy"], found
    assert (found["kubelet"]["kind"], found["kubelet"]["view"]) == ("stock", False)
    # The program's and not only that of the tracer around it.
    assert component(environment, "kubelet")["memory_bytes"] > 50 * MEGABYTE
    table = environment.output("cat", f"/proc/{component(environment, 'etcd')['pid']}/mountinfo").splitlines()
    below = [line for line in table if line.split()[4].startswith(("/sys/fs/cgroup", "/proc/sys", "/dev/kmsg"))]
    assert len(below) == 1, below
    assert " - fuse" in below[0]
    log = environment.output("cat", "/root/.local/share/kins/clusters/default/logs/kubelet.log")
    # Of a pod's groups that were made a moment ago cAdvisor has no figures yet, anywhere: a partial failure.
    failures = [line for line in log.splitlines() if "unable to find data in memory cache" in line]
    assert [line for line in failures if "Partial failure" not in line] == []


def test_memory_limits_are_kept(cluster: Cluster) -> None:
    """What holds more than its limit is killed, and the pod says why; one that stays below lives."""
    limited = {"resources": {"limits": {"memory": "64Mi"}}}
    cluster.apply(
        pod(
            "large", script("exec tail < <(head -c 200000000 /dev/zero; sleep 1000)", **limited), restartPolicy="Never"
        ),
        pod("small", script(hold(9 * MEGABYTE), **limited), restartPolicy="Never"),
    )
    cluster.phase("Failed", "large")
    (ended,) = cluster.json("pod/large")["status"]["containerStatuses"]
    assert ended["state"]["terminated"]["reason"] == "OOMKilled", ended
    assert ended["state"]["terminated"]["exitCode"] == 137
    cluster.phase("Running", "small")
    cluster.delete("pod/large", "pod/small")


@pytest.mark.parametrize("name", PROGRAMS)
def test_it_goes_on_after_a_death(cluster: Cluster, environment: Environment, name: str) -> None:
    """Of the server of control groups, and of what the tracer started: pods live on, new ones run."""
    cluster.apply(pod("old"))
    cluster.ready("old")
    before = component(environment, name)
    environment.run(["pkill", "-KILL", "--full", PROGRAMS[name]])
    eventually(lambda: component(environment, name)["restarts"] > before["restarts"])
    eventually(lambda: status(environment)["healthy"])
    cluster.apply(pod("new"))
    cluster.ready("new")
    assert cluster.execute("new", "echo", "here") == "here\n"
    assert cluster.json("pod/old")["status"]["containerStatuses"][0]["restartCount"] == 0
    cluster.delete("pod/old", "pod/new")
