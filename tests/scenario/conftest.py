"""One environment of each kind with one cluster for the whole session, and a namespace for each test."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from tests.harness import BUILD
from tests.harness.environment import Environment
from tests.harness.images import IMAGES, base_tree, layer
from tests.scenario.cluster import PATIENCE, Cluster, Kubectl
from tests.scenario.environments import ENVIRONMENTS, fresh

# What may be different after `kins down`, each with its reason.
LEFT: tuple[str, ...] = ()
# Ports of the environment's loopback, and the node ports that they lead to.
PUBLISHED = "8080:30080"
PUBLISHED_FRONT = "8081:30081"
# What the environment has besides kins: helm, and an application with its chart.
TESTS = Path(__file__).parent.parent
BINDS = {BUILD / "tools": "/tools", TESTS / "charts": "/charts", TESTS / "application": "/application"}


@pytest.fixture(scope="session", params=ENVIRONMENTS)
def environment(request: pytest.FixtureRequest) -> Iterator[Environment]:
    """A Debian system with the wheel installed and the image archives at /images."""
    with fresh(request.param, BINDS) as started:
        yield started


@pytest.fixture(scope="session")
def kubectl(environment: Environment) -> Iterator[Kubectl]:
    """A cluster with a node and with the tests' images; after its end the environment is as it was before."""
    before = environment.snapshot()
    up = environment.kins_json("up", "-p", PUBLISHED, "-p", PUBLISHED_FRONT, timeout=PATIENCE + 10)
    assert up["level"] == "node", up
    assert up["outcome"] == "created", up
    archives = [f"/images/{image.archive.name}" for image in IMAGES]
    environment.kins("image", "load", *archives, timeout=PATIENCE)
    yield Kubectl.of(environment)
    environment.kins("down", timeout=PATIENCE)
    assert environment.changes_since(before, ignoring=LEFT) == ""


@pytest.fixture
def cluster(environment: Environment, kubectl: Kubectl) -> Iterator[Cluster]:
    """The cluster, with a namespace in which a pod can be made."""
    cluster = Cluster(environment, f"test-{secrets.token_hex(4)}", kubectl)
    cluster.kubectl("create", "namespace", cluster.namespace)
    cluster.wait("serviceaccount/default", "create")
    yield cluster
    cluster.kubectl("delete", "namespace", cluster.namespace, "--wait=false")


@pytest.fixture
def directory(environment: Environment) -> Iterator[str]:
    """An empty directory of the environment."""
    path = environment.output("mktemp", "--directory").strip()
    yield path
    environment.run(["rm", "-r", path])


@pytest.fixture(scope="session")
def small_layer(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A layer with nothing but bash and its libraries."""
    tree = tmp_path_factory.mktemp("small") / "tree"
    linked = subprocess.run(
        ["chroot", str(base_tree()), "ldd", "/bin/bash"], capture_output=True, text=True, check=True
    ).stdout
    for name in ("/bin/bash", *(word for word in linked.split() if word.startswith("/"))):
        path = tree / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((base_tree() / name.lstrip("/")).read_bytes())
        path.chmod(0o755)
    return layer(tree)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Say with a failed test what its namespace looks like."""
    report = yield
    cluster = getattr(item, "funcargs", {}).get("cluster")
    if report.when == "call" and report.failed and isinstance(cluster, Cluster):
        report.sections.append(("cluster", cluster.state()))
    return report
