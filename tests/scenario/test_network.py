"""Addresses of pods, and real servers answering on them."""

from __future__ import annotations

import json

import pytest
from tests.harness.environment import Environment
from tests.harness.images import NGINX, REDIS
from tests.scenario.cluster import Cluster
from tests.scenario.manifests import container, pod, script

pytestmark = pytest.mark.one_root("9p")


def address(cluster: Cluster, name: str) -> str:
    """A pod's address as its status says it."""
    found: str = cluster.json(f"pod/{name}")["status"]["podIP"]
    return found


def own_addresses(cluster: Cluster, name: str) -> list[str]:
    """The IPv4 addresses that a pod finds on its links, without loopback's and its repetition on the way out."""
    links = json.loads(cluster.execute(name, "ip", "-json", "-4", "address", "show", "scope", "global"))
    found = [each for link in links if link["ifname"] != "egress0" for each in link["addr_info"]]
    # iproute2 prints an empty object for an address that it leaves out.
    return [each["local"] for each in found if each]


def test_address(cluster: Cluster) -> None:
    """The one in the status is the pod's own, also when its container starts anew; no two pods share it."""
    cluster.apply(pod("first", script("sleep infinity & wait")), pod("second"))
    cluster.ready("first", "second")
    first, second = address(cluster, "first"), address(cluster, "second")
    assert first != second
    assert own_addresses(cluster, "first") == [first]
    assert own_addresses(cluster, "second") == [second]

    cluster.execute("first", "pkill", "-x", "sleep")
    cluster.wait("pod/first", "jsonpath={.status.containerStatuses[0].restartCount}=1")
    cluster.ready("first")
    assert address(cluster, "first") == first
    assert own_addresses(cluster, "first") == [first]
    assert f"{first}\tfirst\n" in cluster.execute("first", "cat", "/etc/hosts")


def test_nginx_for_pods_and_host(cluster: Cluster, environment: Environment) -> None:
    """nginx answers a pod and the environment, and sees the addresses that they come from."""
    cluster.apply(pod("web", container(image=NGINX.name)), pod("client"))
    cluster.ready("web", "client")
    url = f"http://{address(cluster, 'web')}/"
    curl = ("curl", "--silent", "--show-error", "--fail", url)
    assert cluster.execute("client", *curl) == "nginx in kins\n"
    assert environment.output(*curl) == "nginx in kins\n"
    host = cluster.json("pod/web")["status"]["hostIP"]
    seen = [line.split()[0] for line in cluster.logs("web").splitlines() if '"GET / ' in line]
    assert seen == [address(cluster, "client"), host]


def test_redis_for_pods(cluster: Cluster) -> None:
    """redis keeps what one pod sets and another asks for; a large value too."""
    cluster.apply(
        pod("store", container(image=REDIS.name)), pod("client", container("sleep", "1000", image=REDIS.name))
    )
    cluster.ready("store", "client")
    host = address(cluster, "store")
    assert cluster.execute("client", "redis-cli", "-h", host, "set", "greeting", "hello") == "OK\n"
    assert cluster.execute("store", "redis-cli", "get", "greeting") == "hello\n"
    large = f"head -c 3000000 /dev/zero | tr '\\0' x | redis-cli -h {host} -x set large"
    assert cluster.execute("client", "sh", "-c", large) == "OK\n"
    assert cluster.execute("client", "redis-cli", "-h", host, "strlen", "large") == "3000000\n"


def test_datagrams_between_pods(cluster: Cluster) -> None:
    """UDP reaches a pod and the answer comes back."""
    cluster.apply(pod("server", script("echo pong | nc -u -l -W 1 7000")), pod("client"))
    cluster.ready("server", "client")
    ask = f"echo ping | nc -u -w 5 -W 1 {address(cluster, 'server')} 7000"
    assert cluster.execute("client", "sh", "-c", ask) == "pong\n"


def test_host_network(cluster: Cluster) -> None:
    """A pod that asks for it has the environment's own links."""
    cluster.apply(pod("host", hostNetwork=True))
    cluster.ready("host")
    status = cluster.json("pod/host")["status"]
    assert status["podIP"] == status["hostIP"]
    assert status["hostIP"] in own_addresses(cluster, "host")
