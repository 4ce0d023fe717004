"""A node that runs short of memory or disk: images that nobody uses are removed, pods are evicted, others stay."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import pytest
from tests.harness.environment import Environment
from tests.harness.images import NGINX, REDIS, SHELL
from tests.scenario.cluster import NODE, PATIENCE, Cluster, Kubectl, eventually
from tests.scenario.environments import fresh
from tests.scenario.manifests import container, pod, script
from tests.scenario.test_recovery import component

pytestmark = [pytest.mark.sandbox, pytest.mark.xdist_group("eviction")]

MEGABYTE = 1 << 20
# All of the cluster's data is on a small file system of its own: the sandbox's disk cannot be filled.
HOME = "/root/.local/share/kins"
DISK = 800 * MEGABYTE
# Below this the kubelet acts; what a pod writes leaves less than that, and enough for the store.
FREE, LARGE = 150 * MEGABYTE, 500 * MEGABYTE
# What the cluster needs of memory, and what is then left above the threshold: more than this disk, which is memory too.
CLUSTER, MARGIN = 1200 * MEGABYTE, 750 * MEGABYTE
# How often the kubelet is started to collect images.
STARTS = 4


@pytest.fixture(scope="module")
def environment() -> Iterator[Environment]:
    """A sandbox of this module's own, with little room for clusters."""
    with fresh("gvisor-overlay") as started:
        before = started.snapshot()
        started.run(["mkdir", "--parents", HOME])
        started.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", HOME])
        yield started
        started.run(["umount", HOME])
        started.run(["rmdir", "--parents", "--ignore-fail-on-non-empty", HOME])
        assert started.changes_since(before) == ""


@pytest.fixture(scope="module")
def kubectl(environment: Environment) -> Iterator[Kubectl]:
    """A cluster whose kubelet reacts early and recovers soon."""
    free = next(line for line in environment.output("cat", "/proc/meminfo").splitlines() if "MemAvailable" in line)
    memory = int(free.split()[1]) * 1024 - CLUSTER - MARGIN
    flags = {
        "eviction-hard": f"memory.available<{memory},nodefs.available<{FREE}",
        "eviction-pressure-transition-period": "1s",
        "image-gc-high-threshold": "5",
        "image-gc-low-threshold": "1",
        "minimum-image-ttl-duration": "0s",
    }
    arguments = [word for name, value in flags.items() for word in ("--arg", f"kubelet:{name}={value}")]
    environment.kins_json("up", "--kubelet", "no-cadvisor", *arguments, timeout=PATIENCE + 10)
    for image in (SHELL, NGINX, REDIS):
        environment.kins("image", "load", f"/images/{image.archive.name}", timeout=PATIENCE)
    yield Kubectl.of(environment)
    environment.kins("down", timeout=PATIENCE)


def under(cluster: Cluster, condition: str) -> bool:
    """Whether the node has a condition such as MemoryPressure."""
    conditions = {each["type"]: each["status"] for each in cluster.json(f"node/{NODE}")["status"]["conditions"]}
    return conditions[condition] == "True"


def evicted(cluster: Cluster, name: str, resource: str) -> bool:
    """Whether a pod was evicted for want of a resource."""
    status = cluster.json(f"pod/{name}")["status"]
    return status["phase"] == "Failed" and status.get("reason") == "Evicted" and resource in status["message"]


def evicts(cluster: Cluster, condition: str, resource: str, script_text: str) -> None:
    """The one that takes too much goes, the modest one stays, and the node recovers."""
    cluster.apply(pod("modest", script("sleep infinity")))
    cluster.ready("modest")
    cluster.apply(pod("greedy", script(script_text), restartPolicy="Never"))
    eventually(lambda: evicted(cluster, "greedy", resource))
    eventually(lambda: not under(cluster, condition))
    assert cluster.json("pod/modest")["status"]["phase"] == "Running"


def collected(cluster: Cluster, images: int) -> bool:
    """Whether the kubelet that runs now has removed so many images for want of space."""
    path = f"/api/v1/nodes/{NODE}/proxy/metrics"
    metrics = cluster.kubectl("get", "--raw", path, check=False).stdout
    return f'kubelet_image_garbage_collected_total{{reason="space"}} {images}\n' in metrics


def collects_when_started(cluster: Cluster, environment: Environment, images: int) -> None:
    """Start the kubelet anew until it has collected.

    It collects when it starts and then after five minutes only. An image that its other loop meets between the start of
    the collection and the list of images seems younger than no age at all, and stays (upstream's image_gc_manager.go).
    """
    for _ in range(STARTS - 1):
        restart_kubelet(environment)
        with suppress(AssertionError):
            return eventually(lambda: collected(cluster, images), timeout=PATIENCE / STARTS)
    restart_kubelet(environment)
    eventually(lambda: collected(cluster, images))


def restart_kubelet(environment: Environment) -> None:
    """End it; the supervisor starts another."""
    environment.run(["kill", str(component(environment, "kubelet")["pid"])])


def test_unused_images_are_collected(cluster: Cluster, environment: Environment) -> None:
    """At the kubelet's start and every five minutes, when the disk of images is fuller than a threshold."""
    cluster.apply(pod("using", script("sleep infinity")))
    cluster.ready("using")
    collects_when_started(cluster, environment, images=2)
    cluster.apply(
        pod("present", container(imagePullPolicy="Never")),
        pod("gone", container(image=REDIS.name, imagePullPolicy="Never")),
    )
    cluster.ready("present")
    cluster.wait("pod/gone", "jsonpath={.status.containerStatuses[0].state.waiting.reason}=ErrImageNeverPull")


def test_eviction_for_memory(cluster: Cluster) -> None:
    """`memory.available`: tail keeps what may belong to the last line."""
    evicts(cluster, "MemoryPressure", "memory", f"{{ head -c {3 * MARGIN // 2} /dev/zero; sleep infinity; }} | tail")


def test_eviction_for_disk(cluster: Cluster) -> None:
    """`nodefs.available`."""
    evicts(cluster, "DiskPressure", "ephemeral-storage", f"head -c {LARGE} /dev/zero > /tmp/large; sleep infinity")
