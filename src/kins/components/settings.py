"""What the declarations need to know of one cluster."""

from __future__ import annotations

import ipaddress

import msgspec

CONTROL_PLANE = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "provisioner")
NODE = ("cgroupfs", "containerd", "kubelet", "service-proxy", "coredns", "egress", "metrics-server")
COMPONENT_NAMES = (*CONTROL_PLANE, *NODE, "kwok", "registry", "buildkitd")
CLUSTER_DOMAIN = "cluster.local"


class Ports(msgspec.Struct, frozen=True, kw_only=True):
    """TCP ports on the loopback address, chosen once and kept for the cluster's life; those of the kubelet and of
    metrics-server are on the node's address."""

    api: int
    controller_manager: int
    scheduler: int
    kubelet: int
    kubelet_health: int
    metrics_server: int
    # 0 in a record of before there were simulated nodes
    kwok: int = 0


class PublishedPort(msgspec.Struct, frozen=True, kw_only=True):
    """A TCP port on an IPv4 address of the sandbox that leads to a port of the node."""

    address: str
    port: int
    node_port: int


class Simulation(msgspec.Struct, frozen=True, kw_only=True):
    """Nodes without a machine: their addresses by their names, and the range (CIDR) of their pods. `beside`: there is a
    real node too."""

    nodes: dict[str, str]
    pod_range: str
    beside: bool


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Names, addresses and ports of one cluster. Addresses are dotted quads, ranges are in CIDR notation.

    `load_balancer_range` is as large as `service_range`. `sockets` maps these ranges to those that sockets are bound
    in, where pods share the sandbox's network; else it is empty. `arguments` maps a component to flags
    (`--name=value`) that are appended to its own, so that they win. `simulation` is None without simulated nodes.
    """

    name: str
    node_name: str
    node_address: str
    pod_range: str
    service_range: str
    load_balancer_range: str
    api_service_address: str
    dns_address: str
    ports: Ports
    published: tuple[PublishedPort, ...] = ()
    arguments: dict[str, tuple[str, ...]] = {}
    sockets: dict[str, str] = {}
    simulation: Simulation | None = None

    def socket(self, address: str) -> str:
        """The address that a socket must have to be reached at one of the cluster's."""
        for known, real in self.sockets.items():
            network = ipaddress.ip_network(known)
            if ipaddress.ip_address(address) in network:
                place = int(ipaddress.ip_address(address)) - int(network.network_address)
                return str(ipaddress.ip_network(real)[place])
        return address

    def extra(self, component: str) -> tuple[str, ...]:
        """The user's flags for a component."""
        return self.arguments.get(component, ())

    @property
    def api_url(self) -> str:
        """Loopback, always: an HTTP proxy in the user's environment must never come between kubectl and its cluster."""
        return f"https://127.0.0.1:{self.ports.api}"
