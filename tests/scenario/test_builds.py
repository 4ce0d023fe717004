"""Images from Dockerfiles, built in the environment by BuildKit: for pods, as archives, and into a registry."""

from __future__ import annotations

import json

import pytest
from tests.harness.environment import Environment
from tests.harness.images import SHELL
from tests.scenario.cluster import Cluster, eventually
from tests.scenario.manifests import container, pod

# Two stages, a build argument, a secret, a cache: from the tests' own image, which is in no registry.
DOCKERFILE = f"""\
FROM {SHELL.name} AS first
ARG WORD=none
RUN --mount=type=cache,target=/cache echo "$WORD" > /word && date > /cache/used
COPY context-file /copied
FROM {SHELL.name} AS last
COPY --from=first /word /copied /
RUN --mount=type=secret,id=token test "$(cat /run/secrets/token)" = hush && ! test -e /token
CMD ["bash", "-c", "cat /word /copied; sleep 1000"]
"""


@pytest.fixture
def context(environment: Environment, directory: str) -> str:
    """A directory with a Dockerfile, a file and a secret."""
    environment.write(f"{directory}/Dockerfile", DOCKERFILE)
    environment.write(f"{directory}/context-file", "from the context\n")
    environment.write(f"{directory}/token", "hush\n")
    return directory


def build(environment: Environment, context: str, *arguments: str, check: bool = True) -> str:
    """Build; what BuildKit says meanwhile."""
    secret = ("--secret", f"id=token,src={context}/token")
    return environment.kins("image", "build", *arguments, *secret, context, timeout=180, check=check).stderr


def test_a_pod_runs_what_was_built(cluster: Cluster, environment: Environment, context: str) -> None:
    """At once, under the name that was given; a second build of the same takes all from the cache."""
    build(environment, context, "-t", "built:1", "--build-arg", "WORD=hello")
    cluster.apply(pod("built", container(image="built:1", imagePullPolicy="Never")))
    cluster.ready("built")
    assert cluster.logs("built") == "hello\nfrom the context\n"
    assert "CACHED" in build(environment, context, "-t", "built:2", "--build-arg", "WORD=hello")
    first, second = (
        next(each["id"] for each in environment.kins_json("image", "list") if name in each["names"])
        for name in ("docker.io/library/built:1", "docker.io/library/built:2")
    )
    assert first == second
    environment.kins("image", "remove", "built:1", "built:2")


def test_an_archive_of_one_stage(cluster: Cluster, environment: Environment, context: str) -> None:
    """It is written whole, and can be loaded."""
    build(environment, context, "-t", "stage:1", "--target", "first", "--output", f"{context}/stage.tar")
    (loaded,) = environment.kins_json("image", "load", f"{context}/stage.tar")
    assert loaded["name"] == "docker.io/library/stage:1"
    environment.kins("image", "remove", "stage:1")


def test_a_build_that_fails(cluster: Cluster, environment: Environment, context: str) -> None:
    """It says why, and makes nothing."""
    environment.write(f"{context}/Dockerfile", f"FROM {SHELL.name}\nRUN echo reason >&2; exit 3\n")
    answer = environment.kins("image", "build", "-t", "broken:1", context, timeout=180, check=False)
    assert answer.returncode == 1
    assert "reason" in answer.stderr
    assert "error: " in answer.stderr
    names = [name for each in environment.kins_json("image", "list") for name in each["names"]]
    assert "docker.io/library/broken:1" not in names
    answer = environment.kins("image", "build", "-t", "x:1", f"{context}/absent", check=False)
    assert answer.returncode == 2
    assert "no such directory" in answer.stderr


def test_the_builder_stops_when_idle(cluster: Cluster, environment: Environment, context: str) -> None:
    """Half a minute after the last build; the next one starts it again."""
    build(environment, context, "-t", "idle:1")

    def running() -> bool:
        return "buildkitd" in json.dumps([each["name"] for each in environment.kins_json("status")["components"]])

    assert running()
    eventually(lambda: not running())
    build(environment, context, "-t", "idle:1", "--no-cache")
    environment.kins("image", "remove", "idle:1")
