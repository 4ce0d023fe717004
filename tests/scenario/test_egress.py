"""The way of pods to what the environment reaches: a neighbour with servers, to which pods have no other way."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator

import pytest
from tests.harness import neighbour
from tests.harness.environment import Environment
from tests.harness.images import PYTHON
from tests.harness.neighbour import CLOSED, ECHO, HERE, RESETS, THERE
from tests.scenario.cluster import PATIENCE, Cluster, eventually
from tests.scenario.manifests import container, pod

pytestmark = pytest.mark.one_root("overlay")

# How long anything may take that is no transfer.
SOON = "10"
# Sends as many zeros as it is told, ends its direction, and prints what comes until the other one ends. `nc -N` is no
# such client in gVisor: one time in seven it ends before it has read the answer, over a bridge as well.
HALF_CLOSE = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), 60) as connection:
    connection.sendall(bytes(int(sys.argv[3])))
    connection.shutdown(socket.SHUT_WR)
    print(connection.makefile().read(), end="")
"""


@pytest.fixture(scope="module")
def servers(environment: Environment, kubectl: object) -> Iterator[None]:
    """The neighbour, joined to the environment while the cluster runs."""
    with open(neighbour.__file__) as program, environment.spawn(["python3", "-c", program.read()]) as running:
        running.line_with("ready")
        yield


@pytest.fixture
def client(cluster: Cluster, servers: None) -> Cluster:
    """A pod that asks."""
    cluster.apply(pod("client"))
    cluster.ready("client")
    return cluster


@pytest.fixture
def python_client(cluster: Cluster, environment: Environment, servers: None) -> Iterator[Cluster]:
    """A pod that asks by Python's sockets."""
    environment.kins("image", "load", f"/images/{PYTHON.archive.name}", timeout=PATIENCE)
    cluster.apply(pod("client", container(image=PYTHON.name)))
    cluster.ready("client")
    yield cluster
    cluster.delete("pod/client")
    environment.kins("image", "remove", PYTHON.name, timeout=PATIENCE)


def bash(cluster: Cluster, script: str) -> str:
    """What a script in the pod says, its complaints included."""
    return cluster.execute("client", "bash", "-c", f"({script}) 2>&1")


def test_tcp(python_client: Cluster) -> None:
    """Bytes arrive whole, and both directions end one after the other; the neighbour sees the environment's address."""
    said = python_client.execute("client", "python3", "-c", HALF_CLOSE, THERE, str(ECHO), "300000")
    assert said == f"hello {HERE}\n300000 {hashlib.sha256(bytes(300000)).hexdigest()}\n"


def test_a_long_answer(client: Cluster) -> None:
    """It arrives whole."""
    size = 2_000_000
    content = (bytes(range(256)) * 256 * (size // 65536 + 1))[:size]
    assert hashlib.sha256(content).hexdigest() in bash(client, f"curl --silent http://{THERE}/{size} | sha256sum")


def test_udp(client: Cluster) -> None:
    """An answer finds its way back."""
    said = bash(client, f"echo -n question | timeout {SOON} nc -u -w 2 {THERE} {ECHO}")
    assert said == f"hello {HERE} question"


def test_what_the_outside_refuses_is_refused(client: Cluster) -> None:
    """At once: by a closed port, and where the environment itself knows no way."""
    for place in (f"{THERE} {CLOSED}", f"203.0.113.1 {ECHO}"):
        assert "refused" in bash(client, f"timeout {SOON} nc -v {place} < /dev/null || true")


def test_a_reset_stays_one(client: Cluster) -> None:
    """Whoever waits for an answer is told that there will be none."""
    said = bash(client, f"exec 3<>/dev/tcp/{THERE}/{RESETS}; echo -n x >&3; timeout {SOON} cat <&3 || echo over")
    assert "reset by peer" in said


def test_the_cluster_stays_in_reach(client: Cluster) -> None:
    """Services and the node are not led outside; the API server answers in the pod."""
    assert '"gitVersion"' in bash(client, f"curl --silent --insecure --max-time {SOON} https://10.43.0.1/version")


def test_pods_are_led_again_when_the_relay_was_killed(client: Cluster, environment: Environment) -> None:
    """The supervisor starts it again, and it knows its pods."""
    environment.run(["pkill", "-KILL", "-x", "kins-egress"])
    eventually(lambda: f"hello {HERE}" in bash(client, f"timeout {SOON} nc -N {THERE} {ECHO} < /dev/null || true"))


def test_nothing_is_kept_of_a_pod(cluster: Cluster, environment: Environment, servers: None) -> None:
    """Its device ends with it, and its file."""
    cluster.apply(pod("short"))
    cluster.ready("short")
    directory = "/root/.local/share/kins/clusters/default/run/egress"
    address = cluster.json("pod/short")["status"]["podIP"]

    def led() -> list[str]:
        texts = environment.output("sh", "-c", f"cat {directory}/*.json || true").replace("}{", "}\n{")
        return [json.loads(line)["address"] for line in texts.splitlines()]

    assert address in led()
    cluster.delete("pod/short")
    eventually(lambda: address not in led())
