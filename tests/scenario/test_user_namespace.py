"""A node without any privilege in its sandbox, in a user namespace of its own: for root with Docker's default
capabilities, and for an ordinary user, who has one user id there."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.harness.environment import Environment, image_binds
from tests.harness.gvisor import Sandbox
from tests.harness.images import NGINX, SHELL, image_archives
from tests.harness.network import ADDRESS
from tests.harness.rootfs import USER_ID
from tests.harness.wheel import kins_tree
from tests.scenario.cluster import PATIENCE, Cluster, Kubectl, eventually
from tests.scenario.manifests import pod, script

pytestmark = [pytest.mark.sandbox, pytest.mark.xdist_group("gvisor-9p")]
# A web server in the sandbox, outside of the node's network.
OUTSIDE = 8100
SERVER = f"""
import http.server
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f"outside sees {{self.client_address[0]}}".encode())
server = http.server.HTTPServer(("", {OUTSIDE}), Answer)
print("ready", flush=True)
server.serve_forever()
"""
OTHER_USER = 1234
TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount/token"
OWN_FILES = f"test -s {TOKEN}; echo own > /data/own; mkdir -m 0 /data/closed; exec sleep inf"
WEB = "echo hello > /var/www/html/index.html; echo started; exec nginx -e stderr"
CURL = ("curl", "--silent", "--show-error", "--fail", "--max-time", "20")
RETRY = ("--retry", "30", "--retry-all-errors", "--retry-delay", "1")


@pytest.fixture
def environment() -> Iterator[Environment]:
    binds = image_binds(image_archives())
    with Sandbox(kins_tree(), root="9p", capabilities="docker", network="sandbox", binds=binds) as started:
        yield started


@pytest.mark.parametrize("user", [pytest.param(0, id="root"), pytest.param(USER_ID, id="user")])
def test_a_node_in_a_user_namespace(environment: Environment, user: int) -> None:
    """Pods with logs, exec, Service and DNS; ways in and out; nothing left after a crash."""
    before = environment.snapshot()
    up = environment.kins_json("up", "-p", "8080:30080", user=user, timeout=PATIENCE + 10)
    assert up["level"] == "node", up
    limits = {each.split(":")[0] for each in environment.kins_json("status", user=user)["limits"]}
    assert "user-namespace" in limits
    assert ("identities" in limits) == (user != 0)
    archives = [f"/images/{image.archive.name}" for image in (SHELL, NGINX)]
    environment.kins("image", "load", *archives, user=user, timeout=PATIENCE)
    cluster = Cluster(environment, "default", Kubectl.of(environment, user))
    cluster.apply(pod("web", script(WEB, image=NGINX.name), metadata={"labels": {"app": "web"}}), service())
    cluster.apply(pod("client"))
    cluster.ready("web", "client")
    assert cluster.logs("web").startswith("started\n")
    assert cluster.execute("client", *CURL, *RETRY, "http://web.default") == "hello\n"
    assert environment.output(*CURL, *RETRY, "http://127.0.0.1:8080") == "hello\n"
    with environment.spawn(["python3", "-c", SERVER]) as running:
        running.line_with("ready")
        assert cluster.execute("client", *CURL, f"http://{ADDRESS}:{OUTSIDE}") == f"outside sees {ADDRESS}"
    own_files(cluster, 0 if user else OTHER_USER)
    assert environment.kins_json("status", user=user)["healthy"]
    # Without the process outside there is no way in or out: the node ends with it.
    environment.run(["pkill", "-KILL", "-x", "kins-outside"])
    eventually(lambda: '"crashed"' in environment.kins("status", "--output", "json", user=user, check=False).stdout)
    environment.kins("down", user=user, timeout=PATIENCE)
    assert environment.changes_since(before) == ""


def own_files(cluster: Cluster, seen_as: int) -> None:
    """A pod of another user, with a volume of a group's and a token of its own, which it reads and writes; and what it
    closes to everybody, also to whoever will remove it."""
    rights = {"runAsUser": OTHER_USER, "runAsGroup": OTHER_USER, "fsGroup": 4321}
    mounts = [{"name": "data", "mountPath": "/data"}]
    spec = {"securityContext": rights, "volumes": [{"name": "data", "emptyDir": {}}]}
    cluster.apply(pod("other", script(OWN_FILES, volumeMounts=mounts), **spec))
    cluster.ready("other")
    assert cluster.execute("other", "id", "-u") == f"{seen_as}\n"
    assert cluster.execute("other", "cat", "/data/own") == "own\n"


def service() -> dict[str, object]:
    """The web server's name for pods, and a port of the node that leads to it."""
    ports = [{"port": 80, "nodePort": 30080}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web"},
        "spec": {"type": "NodePort", "selector": {"app": "web"}, "ports": ports},
    }
