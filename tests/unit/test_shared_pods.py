"""Pods that share the sandbox's network: where sockets are, and what the components are told of it."""

from __future__ import annotations

import json
import socket
import tomllib
from pathlib import Path

import pytest

from kins.cluster.interception import component_rules
from kins.cluster.planning import _check_additions, check_loopback
from kins.cluster.spec import Decisions
from kins.components import Layout, Settings, containerd, coredns, kubelet, service_proxy, shared_pods
from kins.components.settings import Ports
from kins.errors import KinsError
from kins.network import addresses

PORTS = Ports(api=1, controller_manager=2, scheduler=3, kubelet=4, kubelet_health=5, metrics_server=6)


def settings(sockets: dict[str, str] = addresses.ON_LOOPBACK) -> Settings:
    """Those of a cluster."""
    return Settings(
        name="default",
        node_name="kins-default",
        node_address=addresses.NODE_ADDRESS,
        pod_range=addresses.POD_RANGE,
        service_range=addresses.SERVICE_RANGE,
        load_balancer_range=addresses.LOAD_BALANCER_RANGE,
        api_service_address=addresses.API_SERVICE_ADDRESS,
        dns_address=addresses.DNS_ADDRESS,
        ports=PORTS,
        sockets=sockets,
    )


@pytest.mark.parametrize(
    ("address", "real"),
    [
        ("10.42.0.1", "127.42.0.1"),
        ("10.43.255.254", "127.43.255.254"),
        ("10.44.3.4", "127.44.3.4"),
        ("127.0.0.1", "127.0.0.1"),
        ("192.0.2.1", "192.0.2.1"),
    ],
)
def test_sockets_are_at_the_same_place_of_another_range(address: str, real: str) -> None:
    assert settings().socket(address) == real
    assert settings({}).socket(address) == address


def test_components_are_told(tmp_path: Path) -> None:
    files = Layout(tmp_path)
    shared, own = settings(), settings({})
    assert "--cloud-provider=external" in kubelet.kubelet(files, shared, "stock").argv
    assert f"--node-ip={addresses.NODE_ADDRESS}" in kubelet.kubelet(files, own, "stock").argv
    told = f"--addresses={files.interception_rules}"
    assert told in service_proxy.service_proxy(files, shared).argv
    assert told not in service_proxy.service_proxy(files, own).argv


def test_containerd_gets_other_programs(tmp_path: Path) -> None:
    files = Layout(tmp_path)

    def runtime(*, shared_network: bool) -> dict[str, object]:
        text = containerd.configuration(files, "overlayfs", "pause", shared_network=shared_network)
        found: dict[str, object] = tomllib.loads(text)["plugins"]["io.containerd.cri.v1.runtime"]
        return found

    shared, own = json.dumps(runtime(shared_network=True)), json.dumps(runtime(shared_network=False))
    for name in (containerd.SHIM, containerd.RUNC):
        assert f'"{files.shared_pods}/{name}"' in shared
    assert '"use_internal_loopback": false' in shared
    assert str(files.shared_pods) not in own
    assert '"use_internal_loopback": true' in own


def test_what_the_programs_read(tmp_path: Path) -> None:
    rules = [{"address": {"from": "10.43.0.0/16", "to": "127.43.0.0/16"}}]
    read = shared_pods.configuration(settings(), tmp_path, rules)
    assert (read["node"], read["addresses"], read["rules"]) == ("127.42.0.1", str(tmp_path), rules)
    component = json.loads(component_rules(settings()))["rules"]
    assert component[-1] == {"source": {"address": "127.42.0.1"}}
    assert rules[0] in component


def test_a_second_tracer_is_refused() -> None:
    with pytest.raises(KinsError) as raised:
        _check_additions(Decisions(level="node", pod_network="shared", interception=True))
    assert raised.value.code == "second-tracer"


def test_another_clusters_loopback_is_refused() -> None:
    place = "127.43.251.10"
    check_loopback(place)
    with socket.create_server((place, coredns.PORT)), pytest.raises(KinsError) as raised:
        check_loopback(place)
    assert (raised.value.code, place in raised.value.message) == ("node-exists", True)
