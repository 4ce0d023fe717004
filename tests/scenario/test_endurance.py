"""A node that lives: more containers than gVisor has session keyrings, and ten minutes."""

from __future__ import annotations

import time

import pytest
from tests.harness.images import SHELL
from tests.scenario.cluster import PATIENCE, Cluster, Kubectl
from tests.scenario.environments import fresh
from tests.scenario.manifests import container, pod

# gVisor never frees session keyrings and allows about 200.
PODS = 30
CONTAINERS = tuple(f"number-{number}" for number in range(10))
MINIMUM_SECONDS = 600.0


@pytest.mark.sandbox
@pytest.mark.xdist_group("endurance")
@pytest.mark.timeout(1800)
def test_three_hundred_containers_and_ten_minutes() -> None:
    """One pod after another; then everything is healthy, nothing was restarted, and `down` leaves nothing."""
    with fresh("gvisor-overlay") as environment:
        before = environment.snapshot()
        environment.kins("up", timeout=PATIENCE + 10)
        began = time.monotonic()
        environment.kins("image", "load", f"/images/{SHELL.archive.name}", timeout=PATIENCE)
        cluster = Cluster(environment, "default", Kubectl.of(environment))
        for number in range(PODS):
            name = f"pod-{number}"
            cluster.apply(pod(name, *(container(name=each) for each in CONTAINERS)))
            cluster.wait(f"pod/{name}", "condition=Ready")
            cluster.delete(f"pod/{name}")
        time.sleep(max(0.0, began + MINIMUM_SECONDS - time.monotonic()))  # the age is what is tested
        status = environment.kins_json("status")
        assert status["state"] == "running"
        assert status["healthy"], status
        restarted = [each for each in status["components"] if each["restarts"]]
        assert not restarted, (restarted, environment.kins("logs", restarted[0]["name"]))
        cluster.wait("node/kins-default", "condition=Ready")
        environment.kins("down", timeout=PATIENCE)
        assert environment.changes_since(before) == ""
