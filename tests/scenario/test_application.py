"""An ordinary application of three tiers, built from Dockerfiles in the environment and installed by a chart."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from tests.harness.environment import Background, Environment
from tests.harness.images import POSTGRES, PYTHON
from tests.harness.wheel import ENVIRONMENT
from tests.scenario.cluster import PATIENCE, Cluster, eventually
from tests.scenario.conftest import PUBLISHED_FRONT

pytestmark = pytest.mark.one_root("overlay")

BUILDS = {
    "shop/web:1": ("--build-arg", "VERSION=1", "/application/web"),
    "shop/web:2": ("--build-arg", "VERSION=2", "/application/web"),
    "shop/worker:1": ("/application/worker",),
    "shop/database:1": ("/application/database",),
    "shop/front:1": ("/application/front",),
}
# Fewer were no load.
LEAST_ORDERS = 20


@pytest.fixture
def images(environment: Environment, cluster: Cluster) -> Iterator[None]:
    """The application's images are in the cluster's store, built there."""
    bases = [f"/images/{image.archive.name}" for image in (POSTGRES, PYTHON)]
    environment.kins("image", "load", *bases, timeout=PATIENCE)
    for name, arguments in BUILDS.items():
        environment.kins("image", "build", "--tag", name, *arguments, timeout=PATIENCE)
    yield
    environment.kins("image", "remove", *BUILDS, POSTGRES.name, PYTHON.name, timeout=PATIENCE)


def helm(cluster: Cluster, *arguments: str) -> None:
    """Run helm in the test's namespace; it must succeed."""
    variables = {"HELM_CACHE_HOME": "/tmp/helm", "KUBECACHEDIR": "/tmp/helm"}
    command = ["/tools/helm", *arguments, "--namespace", cluster.namespace]
    cluster.environment.run(command, variables=variables, timeout=PATIENCE + 60)


def install(cluster: Cluster, verb: str, version: str) -> None:
    """Install or upgrade the chart, and wait until all of it is ready."""
    wait = ("--wait", "--timeout", f"{PATIENCE:g}s")
    helm(cluster, verb, "shop", "/charts/shop", "--set-string", f"version={version}", *wait)


def ask(cluster: Cluster, address: str, path: str) -> dict[str, object]:
    """What the application answers."""
    answer = cluster.environment.output("curl", "--silent", "--show-error", "--max-time", "30", f"{address}{path}")
    document: dict[str, object] = json.loads(answer)
    return document


def load(cluster: Cluster, address: str, prefix: str) -> Background:
    """Begin to send orders."""
    return cluster.environment.spawn([f"{ENVIRONMENT}/bin/python", "/application/load.py", address, prefix])


def taken(sender: Background) -> int:
    """End the load: how many orders were taken. None may have been refused."""
    code, said = sender.finish(PATIENCE)
    assert code == 0, said
    answer = json.loads(said)
    assert answer["failed"] == []
    assert answer["sent"] >= LEAST_ORDERS
    return int(answer["sent"])


def test_an_application(cluster: Cluster, environment: Environment, images: None) -> None:
    """It works through its node port and through the published one; it is upgraded under load, and loses its database's
    pod, without an order lost or refused."""
    node = cluster.json("nodes")["items"][0]["status"]["addresses"][0]["address"]
    port, node_port = PUBLISHED_FRONT.split(":")
    published = f"http://127.0.0.1:{port}"
    install(cluster, "install", "1")
    for address in (f"http://{node}:{node_port}", published):
        assert ask(cluster, address, "/version") == {"version": "1"}

    with load(cluster, published, "upgraded") as sender:
        install(cluster, "upgrade", "2")
        orders = taken(sender)
    assert ask(cluster, published, "/version") == {"version": "2"}
    eventually(lambda: ask(cluster, published, "/orders") == {"orders": orders})

    with load(cluster, published, "recovered") as sender:
        cluster.delete("pod/database-0")
        cluster.roll_out("statefulset/database")
        orders += taken(sender)
    eventually(lambda: ask(cluster, published, "/orders") == {"orders": orders})

    helm(cluster, "uninstall", "shop")
    environment.run(["rm", "-rf", "/tmp/helm"])
