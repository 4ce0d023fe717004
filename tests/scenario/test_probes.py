"""Probes by command, HTTP and TCP, each kind in a container of its own."""

from __future__ import annotations

import pytest
from tests.harness.images import NGINX, REDIS, SHELL
from tests.scenario.cluster import Cluster, Object
from tests.scenario.manifests import pod, script

pytestmark = pytest.mark.one_root("overlay")

# What each kind asks.
CHECKS: dict[str, Object] = {
    "command": {"exec": {"command": ["test", "-e", "/tmp/well"]}},
    "http": {"httpGet": {"port": 80, "path": "/"}},
    "tcp": {"tcpSocket": {"port": 6379}},
}

# What makes the answer a no. The container itself goes on.
BREAK = {
    "command": ["rm", "/tmp/well"],
    "http": ["rm", "/var/www/html/index.html"],
    "tcp": ["redis-cli", "shutdown"],
}

IMAGES = {"http": NGINX.name, "tcp": REDIS.name}

COMMANDS = {
    "command": "touch /tmp/well; sleep infinity",
    "http": "exec nginx -e stderr",
    "tcp": "redis-server --save '' & sleep infinity",
}


def probe(kind: str, failures: int) -> Object:
    """A probe every second, which gives up after so many failures in a row."""
    return {**CHECKS[kind], "periodSeconds": 1, "failureThreshold": failures, "timeoutSeconds": 10}


def containers(before: str, **failures: int) -> list[Object]:
    """A container for each kind that runs `before` first, with the probes that `failures` names."""
    found = []
    for kind in CHECKS:
        probes = {f"{role}Probe": probe(kind, count) for role, count in failures.items()}
        found.append(script(f"{before}\n{COMMANDS[kind]}", name=kind, image=IMAGES.get(kind, SHELL.name), **probes))
    return found


def break_all(cluster: Cluster, name: str) -> None:
    """Turn the answers of all three kinds into a no."""
    for kind, command in BREAK.items():
        cluster.execute(name, *command, container=kind)


def test_readiness(cluster: Cluster) -> None:
    """A container is ready while the answer is yes, and no longer."""
    cluster.apply(pod("web", *containers("", readiness=1)))
    with cluster.watch("pod/web", "{.status.containerStatuses[*].ready}") as ready:
        ready.line_with("true true true")
        break_all(cluster, "web")
        ready.line_with("false false false")
    statuses = cluster.json("pod/web")["status"]["containerStatuses"]
    assert [status["restartCount"] for status in statuses] == [0, 0, 0]


def test_startup_and_liveness(cluster: Cluster) -> None:
    """No probe for liveness disturbs a slow start; later a no restarts the container."""
    cluster.apply(pod("slow", *containers("sleep 3", startup=100, liveness=1)))
    template = "{.status.containerStatuses[*].started} {.status.containerStatuses[*].restartCount}"
    with cluster.watch("pod/slow", template) as state:
        state.line_with("true true true 0 0 0")
        break_all(cluster, "slow")
    with cluster.watch("pod/slow", "{.status.containerStatuses[*].restartCount}") as restarts:
        # On a busy machine one no can be followed by another before the container is replaced: more than once will do.
        while "0" in restarts.line().split():
            pass
    cluster.ready("slow")
    # Nothing else has ended them.
    events = cluster.json("events", "--field-selector=reason=Killing")["items"]
    reasons = {f"Container {kind} failed liveness probe, will be restarted" for kind in CHECKS}
    assert {event["message"] for event in events} == reasons
