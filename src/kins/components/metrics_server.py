"""metrics-server: what `kubectl top` and HorizontalPodAutoscalers ask."""

from __future__ import annotations

from typing import Any

from kins.components import kwok
from kins.components.environment import component_environment
from kins.components.layout import ENGINE, Layout
from kins.components.objects import AUTHORIZATION, ApiObject, bound, cluster_rights, rule
from kins.components.settings import Settings
from kins.supervise import Component

USER = "kins:metrics-server"
NAMESPACE = "kube-system"
SERVICE = "metrics-server"
# As the API server checks the certificate of a Service's server.
HOST = f"{SERVICE}.{NAMESPACE}.svc"
GROUP = "metrics.k8s.io"
SERVICE_PORT = 443
API_SERVICES = "/apis/apiregistration.k8s.io/v1/apiservices"
API_SERVICE = f"v1beta1.{GROUP}"


def metrics_server(layout: Layout, settings: Settings) -> Component:
    """Upstream's metrics-server, on the node's address: an endpoint of a Service cannot have a loopback one.

    Ready, by sd_notify(3), means that it listens.
    """
    configuration = layout.client_configuration("metrics-server")
    return Component(
        name="metrics-server",
        argv=(
            str(ENGINE),
            "metrics-server",
            f"--bind-address={settings.socket(settings.node_address)}",
            f"--secure-port={settings.ports.metrics_server}",
            f"--kubeconfig={configuration}",
            f"--authentication-kubeconfig={configuration}",
            f"--authorization-kubeconfig={configuration}",
            f"--tls-cert-file={layout.certificate('metrics-server')}",
            f"--tls-private-key-file={layout.key('metrics-server')}",
            f"--kubelet-certificate-authority={layout.certificate('ca')}",
            "--kubelet-preferred-address-types=InternalIP",
            "--kubelet-use-node-status-port",
            # Upstream's manifest has this value too; a HorizontalPodAutoscaler looks every 15 s.
            "--metric-resolution=15s",
            # Simulated pods use nothing, and nobody knows more of them.
            *((f"--node-selector={kwok.SELECTOR.replace('=', '!=')}",) if settings.simulation is not None else ()),
            *settings.extra("metrics-server"),
        ),
        environment=component_environment(layout.directory),
        log=layout.log("metrics-server"),
        readiness="notify",
        needs=("kube-apiserver", "kubelet"),
        stop_rank=1,
    )


def objects(settings: Settings) -> tuple[ApiObject, ...]:
    """Its rights as of upstream's manifests, the rights to ask it, and the Service by which the API server finds it."""
    named = {"name": SERVICE, "namespace": NAMESPACE}
    collection = f"/namespaces/{NAMESPACE}"
    port = {"name": "https", "port": SERVICE_PORT, "targetPort": settings.ports.metrics_server}
    return (
        *cluster_rights(USER, rule("", "pods nodes", "get list watch"), rule("", "nodes/metrics", "get")),
        bound(USER, "system:auth-delegator"),
        _authentication_reader(),
        _readers(),
        ApiObject(
            collection=f"/api/v1{collection}/services",
            content={"apiVersion": "v1", "kind": "Service", "metadata": named, "spec": {"ports": [port]}},
        ),
        ApiObject(
            collection=f"/apis/discovery.k8s.io/v1{collection}/endpointslices",
            content={
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": {**named, "labels": {"kubernetes.io/service-name": SERVICE}},
                "addressType": "IPv4",
                "endpoints": [{"addresses": [settings.node_address], "conditions": {"ready": True}}],
                "ports": [{"name": "https", "port": settings.ports.metrics_server, "protocol": "TCP"}],
            },
        ),
    )


def api_service(authority: str) -> ApiObject:
    """What makes the API server ask it for its group. While it does not answer, every client's discovery complains.

    `authority` is the certificate of the cluster's authority in base64.
    """
    service = {"name": SERVICE, "namespace": NAMESPACE, "port": SERVICE_PORT}
    return ApiObject(
        collection=API_SERVICES,
        content={
            "apiVersion": "apiregistration.k8s.io/v1",
            "kind": "APIService",
            "metadata": {"name": API_SERVICE},
            "spec": {
                "group": GROUP,
                "version": "v1beta1",
                "service": service,
                "caBundle": authority,
                "groupPriorityMinimum": 100,
                "versionPriority": 100,
            },
        },
    )


def _authentication_reader() -> ApiObject:
    """To know by which certificate the API server passes on who asks."""
    subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": USER}
    role = {
        "apiGroup": "rbac.authorization.k8s.io",
        "kind": "Role",
        "name": "extension-apiserver-authentication-reader",
    }
    return ApiObject(
        collection=f"{AUTHORIZATION}/namespaces/{NAMESPACE}/rolebindings",
        content={
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": f"{USER}-authentication-reader", "namespace": NAMESPACE},
            "roleRef": role,
            "subjects": [subject],
        },
    )


def _readers() -> ApiObject:
    """Whoever may view a namespace may see what its pods use."""
    roles = ("view", "edit", "admin")
    labels: dict[str, Any] = {f"rbac.authorization.k8s.io/aggregate-to-{role}": "true" for role in roles}
    return ApiObject(
        collection=f"{AUTHORIZATION}/clusterroles",
        content={
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": "kins:metrics-reader", "labels": labels},
            "rules": [rule(GROUP, "pods nodes", "get list watch")],
        },
    )
