"""A node in gVisor with the host's network, where network namespaces have no IP: pods share the sandbox's."""

from __future__ import annotations

import json
import re
import secrets
import signal
from collections.abc import Iterator

import pytest
from tests.harness.environment import Environment, image_binds
from tests.harness.gvisor import Sandbox
from tests.harness.images import PYTHON, SHELL, image_archives
from tests.harness.wheel import kins_tree
from tests.scenario.cluster import PATIENCE, Cluster, Kubectl, Object, eventually
from tests.scenario.manifests import pod, script

pytestmark = [pytest.mark.sandbox, pytest.mark.xdist_group("gvisor-host")]

CURL = ("curl", "--silent", "--show-error", "--fail", "--max-time", "20")
REFUSED = 7
# Says which pod it is, and where the request came from. It knows nothing of any address.
SERVER = """\
import http.server, socket

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f"{socket.gethostname()} for {self.client_address[0]}\\n".encode())

http.server.ThreadingHTTPServer(("", 8080), Handler).serve_forever()
"""


@pytest.fixture(scope="module")
def environment() -> Iterator[Environment]:
    """A sandbox with the network of its host, which is a namespace made for it."""
    with Sandbox(kins_tree(), network="host", binds=image_binds(image_archives())) as started:
        yield started


@pytest.fixture(scope="module")
def kubectl(environment: Environment) -> Iterator[Kubectl]:
    """A cluster; after its end the environment is as before, the host's links and addresses too."""
    before = environment.snapshot()
    up = environment.kins_json("up", timeout=PATIENCE + 10)
    assert (up["level"], up["missing"]) == ("node", []), up
    archives = [f"/images/{image.archive.name}" for image in (SHELL, PYTHON)]
    environment.kins("image", "load", *archives, timeout=PATIENCE)
    yield Kubectl.of(environment)
    environment.kins("down", timeout=PATIENCE)
    assert environment.changes_since(before) == ""


@pytest.fixture(scope="module")
def cluster(environment: Environment, kubectl: Kubectl) -> Cluster:
    """Two servers that want the same port, a client, a Service by TCP and one by UDP; all pods are ready."""
    cluster = Cluster(environment, f"test-{secrets.token_hex(4)}", kubectl)
    cluster.kubectl("create", "namespace", cluster.namespace)
    cluster.wait("serviceaccount/default", "create")
    names = script("while true; do hostname | nc -u -l -W 1 7000; done")
    cluster.apply(
        web("one"),
        web("two", ports=[{"containerPort": 8080, "hostPort": 8089}]),
        pod("client"),
        pod("names", names, metadata={"labels": {"app": "names"}}),
        service("web", "web", {"port": 80, "targetPort": 8080}, type="NodePort"),
        service("names", "names", {"protocol": "UDP", "port": 53, "targetPort": 7000}),
    )
    cluster.ready("one", "two", "client", "names")
    return cluster


def web(name: str, **fields: object) -> Object:
    """A server on every address, which the kubelet asks whether it is ready."""
    probe = {"httpGet": {"port": 8080}, "periodSeconds": 1}
    text = f"cat > /tmp/server.py <<'END'\n{SERVER}END\nexec python3 -u /tmp/server.py"
    server = script(text, image=PYTHON.name, readinessProbe=probe, **fields)
    return pod(name, server, metadata={"labels": {"app": "web"}})


def service(name: str, app: str, port: Object, **specification: object) -> Object:
    """A Service of one port."""
    specification = {"selector": {"app": app}, "ports": [port], **specification}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": specification}


def address(cluster: Cluster, name: str) -> str:
    """A pod's address as its status says it."""
    found: str = cluster.json(f"pod/{name}")["status"]["podIP"]
    return found


def on_loopback(cluster_address: str) -> str:
    """Where the sandbox's own programs find it."""
    return cluster_address.replace("10.", "127.", 1)


def test_what_differs_is_said(environment: Environment, cluster: Cluster) -> None:
    """By status; and by the address that stands for all of the node's."""
    limits = {each.partition(":")[0] for each in environment.kins_json("status")["limits"]}
    assert {"shared-network", "shared-network-places"} <= limits
    assert "egress" not in limits
    assert cluster.json("pod/one")["status"]["hostIP"] == "10.42.0.1"
    assert not cluster.json("pod/one")["spec"].get("hostNetwork")


def test_two_pods_on_one_port(environment: Environment, cluster: Cluster) -> None:
    """Both listen on the wildcard address; each is reached at its own, and sees who asks."""
    for name in ("one", "two"):
        place = f"http://{address(cluster, name)}:8080/"
        assert cluster.execute("client", *CURL, place) == f"{name} for {address(cluster, 'client')}\n"
        assert environment.output(*CURL, on_loopback(place)) == f"{name} for 127.0.0.1\n"
        # The kubelet's question whether it is ready comes from the node, as on every cluster.
        assert "10.42.0.1 - - " in cluster.logs(f"pod/{name}")
    assert environment.run([*CURL, "http://127.0.0.1:8080/"], check=False).returncode == REFUSED


def test_localhost_is_the_pods_own(cluster: Cluster) -> None:
    """By its name, by IPv4 and by IPv6; another pod's is another."""
    ask = "import urllib.request as r; print(r.urlopen('http://{}:8080/').read().decode(), end='')"
    for host in ("localhost", "127.0.0.1", "[::1]"):
        assert cluster.execute("one", "python3", "-c", ask.format(host)) == "one for 127.0.0.1\n"
    refused = cluster.kubectl("exec", "client", "--", *CURL, "http://localhost:8080/", check=False)
    assert refused.returncode == REFUSED


def test_port_forward(environment: Environment, cluster: Cluster) -> None:
    """To the one of two pods on the same port that is asked for, several connections long."""
    with cluster.spawn("port-forward", "pod/two", ":8080") as forward:
        found = re.search(r"127\.0\.0\.1:(\d+) -> 8080", forward.line_with("127.0.0.1"))
        assert found
        for _ in range(3):
            assert environment.output(*CURL, f"http://127.0.0.1:{found[1]}/") == "two for 10.42.0.1\n"
        forward.kill(signal.SIGINT)
        forward.finish(timeout=60)


def test_services_and_their_names(environment: Environment, cluster: Cluster) -> None:
    """TCP and UDP by name from a pod, the API by its Service, node port and host port on the sandbox's loopback."""
    both = {"one for 10.42.0.1\n", "two for 10.42.0.1\n"}
    eventually(lambda: {cluster.execute("client", *CURL, "http://web/") for _ in range(4)} == both)
    web = cluster.json("service/web")["spec"]
    assert environment.output(*CURL, f"http://{on_loopback(web['clusterIP'])}/") in both
    assert environment.output(*CURL, f"http://127.0.0.1:{web['ports'][0]['nodePort']}/") in both
    assert environment.output(*CURL, "http://127.0.0.1:8089/") == "two for 10.42.0.1\n"
    # The server is not there for a moment after each answer.
    ask = "for i in $(seq 20); do echo x | nc -u -w 2 -W 1 names 53 | grep . && exit; sleep 0.5; done; exit 1"
    assert cluster.execute("client", "sh", "-c", ask) == "names\n"
    version = cluster.execute("client", *CURL, "--insecure", "https://kubernetes.default/version")
    assert json.loads(version)["major"] == "1"


def test_the_api_server_reaches_pods(cluster: Cluster) -> None:
    """As a proxy, and for exec, which everything here rests on. A pod's environment has its address too."""
    path = f"/api/v1/namespaces/{cluster.namespace}/pods/one:8080/proxy/"
    assert cluster.kubectl("get", "--raw", path).stdout == "one for 10.42.0.1\n"
    told = cluster.execute("client", "sh", "-c", "cat /proc/1/environ | tr '\\0' '\\n' | grep ^KINS_POD_ADDRESS=")
    assert told == f"KINS_POD_ADDRESS={on_loopback(address(cluster, 'client'))}\n"


def test_the_nodes_network(environment: Environment, cluster: Cluster) -> None:
    """A pod that asks for it has the sandbox's loopback, and reaches pods at their addresses."""
    cluster.apply(pod("host", hostNetwork=True))
    cluster.ready("host")
    assert address(cluster, "host") == "10.42.0.1"
    place = f"http://{address(cluster, 'one')}:8080/"
    assert cluster.execute("host", *CURL, place) == "one for 10.42.0.1\n"
    assert cluster.execute("host", *CURL, on_loopback(place)).startswith("one for ")
