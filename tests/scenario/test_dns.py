"""Names: of Services and pods for pods and for the environment, and of the outside where something answers for it."""

from __future__ import annotations

import time

import pytest
from tests.harness.environment import Environment
from tests.harness.images import NGINX
from tests.scenario.cluster import Cluster
from tests.scenario.manifests import container, pod

pytestmark = pytest.mark.one_root("9p")

DNS_ADDRESS = "10.43.0.10"

# A question and its answers, one line each: asked over UDP, or over TCP. Python's standard library has no DNS client.
ASK = """
import socket, struct, sys
name, kind, transport, server = sys.argv[1:]
kinds = {"A": 1, "CNAME": 5, "PTR": 12, "SRV": 33}
labels = b"".join(bytes([len(each)]) + each.encode() for each in name.split(".")) + b"\\0"
question = struct.pack("!6H", 7, 0x100, 1, 0, 0, 0) + labels + struct.pack("!HH", kinds[kind], 1)
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM) as asked:
    asked.settimeout(10)
    asked.connect((server, 53))
    asked.sendall(question if transport == "udp" else struct.pack("!H", len(question)) + question)
    data = asked.recv(65536)
    if transport == "tcp":
        wanted = struct.unpack("!H", data[:2])[0]
        while len(data) - 2 < wanted:
            data += asked.recv(65536)
        data = data[2:]

def word(at):
    parts, end = [], None
    while data[at]:
        if data[at] & 0xC0:
            end = end or at + 2
            at = struct.unpack("!H", data[at:at + 2])[0] & 0x3FFF
        else:
            parts.append(data[at + 1:at + 1 + data[at]].decode())
            at += 1 + data[at]
    return ".".join(parts), end or at + 1

print({0: "found", 2: "failed", 3: "no such name", 5: "refused"}[data[3] & 15])
at = 12 + len(labels) + 4
for _ in range(struct.unpack("!H", data[6:8])[0]):
    owner, at = word(at)
    kind, _, _, length = struct.unpack("!HHIH", data[at:at + 10])
    at += 10
    if kind == 1:
        print("A", socket.inet_ntoa(data[at:at + 4]))
    elif kind in (5, 12):
        print({5: "CNAME", 12: "PTR"}[kind], word(at)[0])
    elif kind == 33:
        print("SRV", struct.unpack("!H", data[at + 4:at + 6])[0], word(at + 6)[0])
    at += length
"""


def ask(environment: Environment, name: str, kind: str = "A", transport: str = "udp", server: str = DNS_ADDRESS) -> str:
    """What came of a question that was asked in the environment: the verdict, and the answers in order."""
    said = environment.output("python3", "-c", ASK, name, kind, transport, server).splitlines()
    return "\n".join([said[0], *sorted(said[1:])])


def service(name: str, **specification: object) -> dict[str, object]:
    """A Service of the pods with the label `app: NAME`, unless the specification says otherwise."""
    wanted = {"selector": {"app": name}, "ports": [{"name": "http", "port": 80}], **specification}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": wanted}


def address(cluster: Cluster, name: str) -> str:
    """A pod's address."""
    found: str = cluster.json(f"pod/{name}")["status"]["podIP"]
    return found


@pytest.fixture
def shop(cluster: Cluster) -> Cluster:
    """Two Services of one pod that has a name in the second one, and a pod that asks."""
    metadata = {"labels": {"app": "shop", "group": "peers"}}
    cluster.apply(
        service("shop"),
        service("peers", clusterIP="None", selector={"group": "peers"}),
        service("elsewhere", type="ExternalName", externalName="shop.example", selector=None, ports=None),
        pod("web", container(image=NGINX.name), metadata=metadata, hostname="first", subdomain="peers"),
        pod("client"),
        pod("plain", dnsPolicy="Default"),
        pod("host", hostNetwork=True, dnsPolicy="ClusterFirstWithHostNet"),
    )
    cluster.ready("web", "client", "plain", "host")
    return cluster


def test_names_of_services_and_pods(shop: Cluster, environment: Environment) -> None:
    """Each kind of name and record, asked in the environment over UDP and over TCP."""
    zone = f"{shop.namespace}.svc.cluster.local"
    virtual, real = shop.json("service/shop")["spec"]["clusterIP"], address(shop, "web")
    dashed = real.replace(".", "-")
    backwards = ".".join(reversed(real.split("."))) + ".in-addr.arpa"
    answers = {
        (f"shop.{zone}", "A"): f"found\nA {virtual}",
        (f"peers.{zone}", "A"): f"found\nA {real}",
        (f"first.peers.{zone}", "A"): f"found\nA {real}",
        (f"_http._tcp.shop.{zone}", "SRV"): f"found\nSRV 80 shop.{zone}",
        (f"_http._tcp.peers.{zone}", "SRV"): f"found\nSRV 80 first.peers.{zone}",
        (backwards, "PTR"): f"found\nPTR {dashed}.shop.{zone}\nPTR first.peers.{zone}",
        (f"elsewhere.{zone}", "CNAME"): "found\nCNAME shop.example",
        (f"{dashed}.{shop.namespace}.pod.cluster.local", "A"): f"found\nA {real}",
        (f"nothing.{zone}", "A"): "no such name",
    }
    for transport in ("udp", "tcp"):
        assert {question: ask(environment, *question, transport) for question in answers} == answers
    ours = ".".join(reversed(DNS_ADDRESS.split("."))) + ".in-addr.arpa"
    assert ask(environment, ours, "PTR") == "found\nPTR kube-dns.kube-system.svc.cluster.local"


def test_names_for_pods(shop: Cluster) -> None:
    """A pod needs no more than a Service's name, with its namespace if that is another one; so does one on the node."""
    virtual, real = shop.json("service/shop")["spec"]["clusterIP"], address(shop, "web")
    for name in ("client", "host"):
        assert shop.execute(name, "getent", "hosts", "shop").split()[0] == virtual
        assert shop.execute(name, "getent", "hosts", f"first.peers.{shop.namespace}").split()[0] == real
        found = shop.execute(name, "getent", "hosts", "kube-dns.kube-system.svc.cluster.local")
        assert found.split()[0] == DNS_ADDRESS
    assert shop.execute("client", "curl", "--silent", "http://peers/") == "nginx in kins\n"


def test_search_domains(shop: Cluster) -> None:
    """Those of the pod's own namespace for a pod that asks for nothing; none for one that wants the node's."""
    domains = f"{shop.namespace}.svc.cluster.local svc.cluster.local cluster.local"
    assert f"search {domains}\n" in shop.execute("client", "cat", "/etc/resolv.conf")
    plain = shop.execute("plain", "cat", "/etc/resolv.conf")
    assert "search" not in plain
    assert f"nameserver {DNS_ADDRESS}\n" in plain


def test_new_names_are_found_at_once(cluster: Cluster, environment: Environment) -> None:
    """Also when they were asked for before they were there."""
    name = f"late.{cluster.namespace}.svc.cluster.local"
    assert ask(environment, name) == "no such name"
    cluster.apply(service("late", selector=None))
    virtual = cluster.json("service/late")["spec"]["clusterIP"]
    deadline = time.monotonic() + 5
    while (said := ask(environment, name)) == "no such name":
        assert time.monotonic() < deadline
    assert said == f"found\nA {virtual}"


def test_outside_names_without_a_resolver(shop: Cluster, environment: Environment) -> None:
    """This environment has none: the answer comes at once, whatever is searched, and is that there is no such name."""
    assert ask(environment, "example.org") == "no such name"
    began = time.monotonic()
    done = shop.kubectl("exec", "client", "--", "getent", "hosts", "example.org", check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert time.monotonic() - began < 5
    assert any("no resolver" in limit for limit in environment.kins_json("status")["limits"])


def test_server_is_found_and_well(environment: Environment, cluster: Cluster) -> None:
    """The Service that charts look for has an endpoint that answers; the server is a component like any other."""
    found = cluster.json("--namespace=kube-system", "service/kube-dns")["spec"]
    assert (found["clusterIP"], {port["protocol"] for port in found["ports"]}) == (DNS_ADDRESS, {"TCP", "UDP"})
    endpoints = cluster.json("--namespace=kube-system", "endpointslice/kube-dns")["endpoints"]
    (endpoint,) = (address for each in endpoints for address in each["addresses"])
    assert ask(environment, "kubernetes.default.svc.cluster.local", server=endpoint) == "found\nA 10.43.0.1"
    states = {each["name"]: each for each in environment.kins_json("status")["components"]}
    assert (states["coredns"]["state"], states["coredns"]["restarts"]) == ("ready", 0)
    refused = cluster.kubectl("--as=system:coredns", "get", "secrets", check=False)
    assert "forbidden" in refused.stderr
