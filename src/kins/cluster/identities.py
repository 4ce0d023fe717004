"""Who is who in a cluster: the certificates of its components and of its user, as data."""

from __future__ import annotations

from kins.components import Settings, coredns, kwok, metrics_server, provisioner, service_proxy
from kins.pki import Identity

API_SERVER_NAMES = (
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
)
# The pair of keys for service account tokens.
SIGNING_KEY = "sa"
ADMINISTRATOR = "admin"
# Components that are clients by a kubeconfig, with the certificates that they show.
CONTROL_PLANE_CLIENTS = {name: name for name in ("kube-controller-manager", "kube-scheduler", "provisioner")}
SIMULATION_CLIENTS = {"kwok": "kwok"}
NODE_CLIENTS = {"kubelet": "kubelet-client"} | {name: name for name in ("service-proxy", "metrics-server", "coredns")}


def control_plane_identities(settings: Settings) -> tuple[Identity, ...]:
    """Identity, common name and organisations as upstream's kubeadm gives them (kubernetes.io: PKI certificates and
    requirements)."""
    masters = ("system:masters",)
    return (
        _client(ADMINISTRATOR, "kubernetes-admin", masters),
        _client("kube-apiserver-kubelet-client", "kube-apiserver-kubelet-client", masters),
        _client("kube-controller-manager", "system:kube-controller-manager"),
        _client("kube-scheduler", "system:kube-scheduler"),
        _client("provisioner", provisioner.USER),
        Identity(name="front-proxy-client", common_name="front-proxy-client", authority="front-proxy-ca"),
        Identity(
            name="kube-apiserver",
            common_name="kube-apiserver",
            dns_names=API_SERVER_NAMES,
            ip_addresses=("127.0.0.1", settings.node_address, settings.api_service_address),
        ),
        *(simulation_identities() if settings.simulation is not None else ()),
    )


def simulation_identities() -> tuple[Identity, ...]:
    """kwok as a client, and as the kubelet of its nodes."""
    return (Identity(name="kwok", common_name=kwok.USER, ip_addresses=(kwok.ADDRESS,)),)


def node_identities(settings: Settings) -> tuple[Identity, ...]:
    """The kubelet as a client and as a server, and what runs beside it."""
    return (
        _client("kubelet-client", f"system:node:{settings.node_name}", ("system:nodes",)),
        Identity(
            name="kubelet",
            common_name=settings.node_name,
            dns_names=(settings.node_name,),
            ip_addresses=(settings.node_address, "127.0.0.1"),
        ),
        _client("service-proxy", service_proxy.USER),
        Identity(
            name="metrics-server",
            common_name=metrics_server.USER,
            dns_names=(metrics_server.HOST,),
            ip_addresses=(settings.node_address,),
        ),
        _client("coredns", coredns.USER),
    )


def _client(name: str, common_name: str, organizations: tuple[str, ...] = ()) -> Identity:
    return Identity(name=name, common_name=common_name, organizations=organizations)
