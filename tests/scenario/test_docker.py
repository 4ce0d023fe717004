"""Images out of a real Docker that runs beside the cluster."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.harness.environment import Environment, image_binds
from tests.harness.images import SHELL, image_archives
from tests.harness.native import Native
from tests.harness.rootfs import docker_tree, sandbox_tree
from tests.harness.wheel import ENVIRONMENT, kins_tree
from tests.scenario.cluster import PATIENCE, Cluster, eventually
from tests.scenario.manifests import container, pod

pytestmark = [pytest.mark.native, pytest.mark.xdist_group("native")]

# Without a network of its own, which nothing here asks for.
DOCKERD = ("dockerd", "--bridge=none", "--iptables=false", "--ip6tables=false", "--storage-driver=vfs")
NAME = "from-docker:1"


@pytest.fixture(scope="module")
def environment() -> Iterator[Environment]:
    """A machine with Docker, which has one image, and a cluster. kins is bound: Docker's tree is made once."""
    inside = ENVIRONMENT.lstrip("/")
    binds = {**image_binds(image_archives()), kins_tree() / inside: ENVIRONMENT}
    with Native(docker_tree(sandbox_tree()), binds=binds) as started:
        started.run(["ln", "-s", f"{ENVIRONMENT}/bin/kins", "/usr/local/bin/kins"])
        with started.spawn(DOCKERD):
            eventually(lambda: started.run(["docker", "info"], check=False).returncode == 0)
            started.run(["docker", "load", "--input", f"/images/{SHELL.archive.name}"])
            started.run(["docker", "tag", SHELL.name, NAME])
            started.kins("up", timeout=PATIENCE + 10)
            yield started
            started.kins("down", timeout=PATIENCE)


def test_an_image_by_its_name(environment: Environment) -> None:
    """It goes over without a file, and a pod runs it."""
    (loaded,) = environment.kins_json("image", "load", NAME, timeout=PATIENCE)
    assert loaded["name"] == f"docker.io/library/{NAME}"
    cluster = Cluster(environment, "default")
    cluster.wait("serviceaccount/default", "create")
    cluster.apply(pod("from-docker", container(image=NAME, imagePullPolicy="Never")))
    cluster.ready("from-docker")


def test_an_image_that_docker_has_not(environment: Environment) -> None:
    """The message names where it was looked for."""
    answer = environment.kins("image", "load", "absent:1", check=False)
    assert answer.returncode == 2
    assert "no Docker or Podman has an image of that name (/var/run/docker.sock)" in answer.stderr


def test_an_image_that_goes_to_docker(environment: Environment) -> None:
    """What is saved, Docker loads, and it is the same image."""
    environment.kins("image", "load", f"/images/{SHELL.archive.name}")
    before = environment.output("docker", "image", "inspect", "--format={{.Id}}", SHELL.name)
    environment.run(["docker", "rmi", SHELL.name, NAME])
    environment.run(["sh", "-c", f"kins image save {SHELL.name} | docker load"])
    assert environment.output("docker", "image", "inspect", "--format={{.Id}}", SHELL.name) == before
