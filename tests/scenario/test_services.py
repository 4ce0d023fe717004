"""The addresses of Services: from pods, from pods in the node's network and from the sandbox itself."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from tests.harness.environment import Environment
from tests.harness.images import NGINX
from tests.scenario.cluster import NODE, Cluster, Object, eventually
from tests.scenario.conftest import PUBLISHED, PUBLISHED_FRONT
from tests.scenario.manifests import pod, script

pytestmark = pytest.mark.one_root("overlay")

# A web server that says which pod it is; a second one in the same pod would want another port.
WEB = "hostname > /var/www/html/index.html; exec nginx -e stderr"
CURL = ("curl", "--silent", "--show-error", "--fail", "--max-time", "20")
NODE_ADDRESS = "10.42.0.1"
# curl's exit code for a connection that was refused.
REFUSED = 7


def web(name: str, *, metadata: Object | None = None, **fields: Any) -> Object:
    """A pod with a web server on its port `http`, behind every Service whose selector is `app: web`."""
    ports = [{"name": "http", "containerPort": 80}]
    server = script(WEB, image=NGINX.name, ports=ports, **fields)
    return pod(name, server, metadata={"labels": {"app": "web"}, **(metadata or {})})


def service(name: str, *ports: Object, **specification: Any) -> Object:
    """A Service for the web servers; without ports, port 8000."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {
            "selector": {"app": "web"},
            "ports": list(ports) or [{"port": 8000, "targetPort": "http"}],
            **specification,
        },
    }


def cluster_ip(cluster: Cluster, name: str) -> str:
    """The cluster IP of a Service."""
    found: str = cluster.json(f"service/{name}")["spec"]["clusterIP"]
    return found


def endpoints(cluster: Cluster, name: str) -> list[Object]:
    """The endpoints of a Service."""
    slices = cluster.json("endpointslices", f"--selector=kubernetes.io/service-name={name}")["items"]
    return [endpoint for each in slices for endpoint in each["endpoints"] or ()]


def asked(cluster: Cluster, where: str, count: int, client: str | None = None) -> Counter[str]:
    """How often which pod answered, of so many requests from a pod, or from the sandbox."""
    script = f"for i in $(seq {count}); do {' '.join(CURL)} http://{where}/; done"
    command = ("bash", "-euc", script)
    said = cluster.environment.output(*command) if client is None else cluster.execute(client, *command)
    return Counter(said.split())


def refuses(environment: Environment, where: str) -> bool:
    """Whether a connection is refused, and at once."""
    return environment.run([*CURL, "--max-time", "2", f"http://{where}/"], check=False).returncode == REFUSED


def answers(environment: Environment, where: str) -> bool:
    """Whether a server answers."""
    return environment.run([*CURL, f"http://{where}/"], check=False).returncode == 0


def test_every_address_of_a_service(cluster: Cluster, environment: Environment) -> None:
    """Cluster IP, load balancer's address, external IP, node port, published port; both pods behind each of them.

    From a pod, from one of the pods behind it (which reaches itself too), from the node's network and the sandbox.
    """
    _, node_port = PUBLISHED.split(":")
    cluster.apply(
        web("one"),
        web("two"),
        pod("client"),
        pod("host", hostNetwork=True),
        service(
            "web",
            {"name": "a", "port": 8000, "targetPort": "http", "nodePort": int(node_port)},
            {"name": "b", "port": 8001, "targetPort": 80},
            type="LoadBalancer",
            externalIPs=[NODE_ADDRESS],
        ),
    )
    cluster.ready("one", "two", "client", "host")
    cluster.wait("service/web", "jsonpath={.status.loadBalancer.ingress[0].ip}")
    balancer = cluster.json("service/web")["status"]["loadBalancer"]["ingress"][0]["ip"]
    address = cluster_ip(cluster, "web")
    everywhere = [f"{address}:8000", f"{address}:8001", f"{balancer}:8000", f"{NODE_ADDRESS}:8000"]
    everywhere.append(f"{NODE_ADDRESS}:{node_port}")
    eventually(lambda: set(asked(cluster, everywhere[0], 4)) == {"one", "two"})
    for client in ("client", "one", "host", None):
        for where in everywhere:
            assert asked(cluster, where, 4, client) == {"one": 2, "two": 2}, (client, where)
    published, _ = PUBLISHED.split(":")
    for port in (node_port, published):
        assert asked(cluster, f"127.0.0.1:{port}", 4) == {"one": 2, "two": 2}, port

    cluster.kubectl("patch", "service/web", "--patch", json.dumps({"spec": {"type": "ClusterIP"}}))
    eventually(lambda: not cluster.json("service/web")["status"]["loadBalancer"])
    eventually(lambda: refuses(environment, f"{balancer}:8000"))


def test_endpoints_come_and_go(cluster: Cluster, environment: Environment) -> None:
    """Without one it refuses at once; an unready one gets nothing, but through a Service that wants it."""
    ready = {"exec": {"command": ["test", "-e", "/tmp/ready"]}, "periodSeconds": 1}
    cluster.apply(service("web"), service("early", publishNotReadyAddresses=True))
    where, early = f"{cluster_ip(cluster, 'web')}:8000", f"{cluster_ip(cluster, 'early')}:8000"
    assert refuses(environment, where)
    cluster.apply(web("one", readinessProbe=ready))
    eventually(lambda: answers(environment, early))
    assert refuses(environment, where)
    cluster.execute("one", "touch", "/tmp/ready")
    eventually(lambda: answers(environment, where))
    cluster.execute("one", "rm", "/tmp/ready")
    eventually(lambda: refuses(environment, where))
    assert answers(environment, early)
    cluster.delete("pod/one")
    eventually(lambda: refuses(environment, early))


def test_affinity(cluster: Cluster) -> None:
    """A client keeps its pod for the time that the Service says."""
    affinity = {"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 3600}}}
    cluster.apply(web("one"), web("two"), pod("client"), service("web", internalTrafficPolicy="Local", **affinity))
    cluster.ready("one", "two", "client")
    where = f"{cluster_ip(cluster, 'web')}:8000"
    eventually(
        lambda: len(cluster.json("endpointslices", "-l=kubernetes.io/service-name=web")["items"][0]["endpoints"]) == 2
    )
    assert len(asked(cluster, where, 6, "client")) == 1
    shorter = {"spec": {"sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 1}}}}
    cluster.kubectl("patch", "service/web", "--patch", json.dumps(shorter))
    waiting = f"for i in 1 2 3 4; do {' '.join(CURL)} http://{where}/; sleep 2; done"

    def both() -> bool:
        return set(cluster.execute("client", "bash", "-euc", waiting).split()) == {"one", "two"}

    eventually(both)


def test_datagrams(cluster: Cluster) -> None:
    """An answer comes back from the address that was asked, or the client's connected socket would not take it."""
    server = script("while true; do hostname | nc -u -l -W 1 7000; done")
    port = {"protocol": "UDP", "port": 53, "targetPort": 7000}
    cluster.apply(
        pod("server", server, metadata={"labels": {"app": "names"}}),
        pod("client"),
        service("names", port, selector={"app": "names"}, type="NodePort"),
    )
    cluster.ready("server", "client")
    node_port = cluster.json("service/names")["spec"]["ports"][0]["nodePort"]
    for where in (f"{cluster_ip(cluster, 'names')} 53", f"{NODE_ADDRESS} {node_port}"):
        # The server is not there for a moment after each answer.
        ask = f"for i in $(seq 20); do echo x | nc -u -w 2 -W 1 {where} | grep . && exit; sleep 0.5; done; exit 1"
        assert cluster.execute("client", "sh", "-c", ask) == "server\n", where


def test_host_port(cluster: Cluster, environment: Environment) -> None:
    """On the node's addresses for as long as the pod is there."""
    cluster.apply(pod("web", script(WEB, image=NGINX.name, ports=[{"containerPort": 80, "hostPort": 8089}])))
    cluster.ready("web")
    for where in (f"{NODE_ADDRESS}:8089", "127.0.0.1:8089"):
        eventually(lambda where=where: answers(environment, where))  # type: ignore[misc]
    cluster.delete("pod/web")
    eventually(lambda: refuses(environment, "127.0.0.1:8089"))


def test_without_a_selector(cluster: Cluster, environment: Environment) -> None:
    """A Service leads to what an EndpointSlice names, here a server in the sandbox."""
    server = ["python3", "-m", "http.server", "--bind", NODE_ADDRESS, "8090"]
    slice_ = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "outside", "labels": {"kubernetes.io/service-name": "outside"}},
        "addressType": "IPv4",
        "ports": [{"port": 8090}],
        "endpoints": [{"addresses": [NODE_ADDRESS]}],
    }
    outside = service("outside", {"port": 80, "targetPort": 8090})
    del outside["spec"]["selector"]
    with environment.spawn(server):
        cluster.apply(outside, slice_, pod("client"))
        cluster.ready("client")
        where = cluster_ip(cluster, "outside")
        eventually(lambda: answers(environment, where))
        assert "Directory listing" in cluster.execute("client", *CURL, f"http://{where}/")


@pytest.mark.parametrize("host_network", [False, True])
def test_the_api_from_a_pod(cluster: Cluster, host_network: bool) -> None:
    """By its Service, with the authority and the token that every pod has."""
    account = "/var/run/secrets/kubernetes.io/serviceaccount"
    cluster.apply(pod("client", hostNetwork=host_network))
    cluster.ready("client")
    ask = (
        f'{" ".join(CURL)} --cacert {account}/ca.crt --header "Authorization: Bearer $(cat {account}/token)" '
        '"https://$KUBERNETES_SERVICE_HOST:$KUBERNETES_SERVICE_PORT/apis/authentication.k8s.io/v1"'
    )
    found = json.loads(cluster.execute("client", "sh", "-c", ask))
    assert found["groupVersion"] == "authentication.k8s.io/v1"


def test_network_policies_are_said_not_to_be_enforced(cluster: Cluster, environment: Environment) -> None:
    """They are accepted, connections go on, and the status tells."""
    cluster.apply(
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": "nothing"},
            "spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]},
        },
        web("one"),
        service("web"),
    )
    cluster.ready("one")
    where = f"{cluster_ip(cluster, 'web')}:8000"
    eventually(lambda: answers(environment, where))
    limits = environment.kins_json("status")["limits"]
    assert any(limit.startswith("network-policy:") for limit in limits), limits


def test_status_shows_what_is_published(environment: Environment, cluster: Cluster) -> None:
    """And the proxy as a component that is ready."""
    status = environment.kins_json("status")
    pairs = [map(int, each.split(":")) for each in (PUBLISHED, PUBLISHED_FRONT)]
    assert status["published"] == [
        {"address": "127.0.0.1", "port": port, "node_port": node_port} for port, node_port in pairs
    ]
    assert {each["name"]: each["state"] for each in status["components"]}["service-proxy"] == "ready"
    assert status["node"]["name"] == NODE
