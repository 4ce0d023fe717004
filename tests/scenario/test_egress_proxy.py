"""A cluster whose only door to the outside is a proxy: pods that ask are told of it, and of the authority behind it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.harness import neighbour
from tests.harness.environment import Environment
from tests.harness.images import SHELL
from tests.harness.neighbour import PROXY, THERE
from tests.scenario.cluster import PATIENCE, Cluster, Object, eventually
from tests.scenario.environments import fresh
from tests.scenario.manifests import container, pod

from kins.pki import Authority

SERVER = "outside.test"
PLACE = "/srv/neighbour"
FILES = ("ca.crt", "server.crt", "server.key")
# What asks for the variables and for the authorities, as docs/how-to/egress.md has it.
VARIABLES = [{"configMapRef": {"name": "kins-egress"}}]
AUTHORITIES: Object = {"name": "authorities", "configMap": {"name": "kins-egress-authorities"}}
ASK = f"curl --silent --show-error --max-time 20 https://{SERVER}/7 | wc --bytes"

# On a 9p root nothing is different: what is tested lies in the API and in the network.
KINDS = [
    pytest.param(name, marks=[mark, pytest.mark.xdist_group(f"egress-{name}")])
    for name, mark in (("native", pytest.mark.native), ("gvisor-overlay", pytest.mark.sandbox))
]


@pytest.fixture(scope="module", params=KINDS)
def environment(request: pytest.FixtureRequest) -> Iterator[Environment]:
    """An environment of this module's own, whose user has a proxy."""
    with fresh(request.param) as started:
        yield started


@pytest.fixture(scope="module")
def outside(environment: Environment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The neighbour with its proxy; the variables that lead there."""
    pki = tmp_path_factory.mktemp("pki")
    Authority.open(pki, "ca").issue("server", SERVER, dns_names=(SERVER,))
    environment.run(["mkdir", PLACE])
    for name in FILES:
        environment.write(f"{PLACE}/{name}", (pki / name).read_text())
    program = Path(neighbour.__file__).read_text()
    with environment.spawn(["python3", "-c", program, f"{PLACE}/server.crt", f"{PLACE}/server.key"]) as running:
        running.line_with("ready")
        yield {"HTTPS_PROXY": f"http://{THERE}:{PROXY}", "NO_PROXY": "example.org", "SSL_CERT_FILE": f"{PLACE}/ca.crt"}


@pytest.fixture(scope="module")
def cluster(environment: Environment, outside: dict[str, str]) -> Iterator[Cluster]:
    """A cluster that tells pods of the proxy."""
    arguments = ["kins", "up", "--proxy-for-pods", "--output", "json"]
    up = json.loads(environment.run(arguments, variables=outside, timeout=PATIENCE + 10).stdout)
    assert up["result"]["level"] == "node", up
    environment.kins("image", "load", f"/images/{SHELL.archive.name}", timeout=PATIENCE)
    cluster = Cluster(environment, "asking")
    cluster.kubectl("create", "namespace", cluster.namespace)
    cluster.wait("serviceaccount/default", "create")
    yield cluster
    environment.kins("down", timeout=PATIENCE)


def test_pods_that_ask_get_through_the_proxy(cluster: Cluster) -> None:
    """One that asks for both reaches the server behind it; without the authority it does not trust it, and without the
    variables it finds nobody."""
    mounted = {"volumeMounts": [{"name": "authorities", "mountPath": "/etc/egress"}]}
    trusting = {"env": [{"name": "SSL_CERT_FILE", "value": "/etc/egress/ca.crt"}], **mounted}
    cluster.apply(
        pod("both", container(envFrom=VARIABLES, **trusting), volumes=[AUTHORITIES]),
        pod("variables", container(envFrom=VARIABLES)),
        pod("nothing"),
    )
    cluster.ready("both", "variables", "nothing")
    assert cluster.execute("both", "bash", "-c", ASK) == "7\n"
    assert "certificate" in cluster.execute("variables", "bash", "-c", f"({ASK}) 2>&1")
    assert "resolve" in cluster.execute("nothing", "bash", "-c", f"({ASK}) 2>&1")
    assert "PROXY" not in cluster.execute("nothing", "env").upper()


def test_the_cluster_needs_no_proxy(cluster: Cluster) -> None:
    """The proxy would lead the question to the wrong server."""
    cluster.apply(pod("inside", container(envFrom=VARIABLES)))
    cluster.ready("inside")
    said = cluster.execute("inside", "curl", "--silent", "--insecure", "https://kubernetes.default.svc/version")
    assert '"gitVersion"' in said
    assert cluster.execute("inside", "printenv", "no_proxy").startswith("example.org,localhost,")


def test_new_namespaces_are_told_too(cluster: Cluster) -> None:
    """Those that were made when the cluster was long ready."""
    cluster.kubectl("create", "namespace", "later")
    eventually(lambda: "kins-egress-authorities" in cluster.kubectl("get", "configmaps", "-n", "later").stdout)
    assert cluster.json("--namespace=later", "configmap/kins-egress")["data"]["HTTPS_PROXY"].endswith(f":{PROXY}")
