"""The proxy for Services (`engine/internal/serviceproxy`), and what it may do at the API server."""

from __future__ import annotations

from typing import Any

from kins.components.environment import component_environment
from kins.components.layout import ENGINE, Layout
from kins.components.settings import Settings
from kins.supervise import Component

USER = "kins:service-proxy"
LOOPBACK = "127.0.0.1"
RBAC = "rbac.authorization.k8s.io"


def service_proxy(layout: Layout, settings: Settings) -> Component:
    """Answers on the addresses of Services, on host ports and on published ports.

    Ready, by sd_notify(3), means that everything that there was at its start is served. The endpoint of the Service
    `kubernetes` is the address that the API server advertises and does not listen on: it is led to loopback. So are the
    published ports to the node's.
    """
    api = f"{settings.node_address}:{settings.ports.api}={LOOPBACK}:{settings.ports.api}"
    published = (f"{each.address}:{each.port}={settings.node_address}:{each.node_port}" for each in settings.published)
    return Component(
        name="service-proxy",
        argv=(
            str(ENGINE),
            "service-proxy",
            f"--kubeconfig={layout.client_configuration('service-proxy')}",
            f"--node-name={settings.node_name}",
            f"--node-address={settings.node_address}",
            f"--node-address={LOOPBACK}",
            f"--service-range={settings.service_range}",
            f"--load-balancer-range={settings.load_balancer_range}",
            *(f"--forward={each}" for each in (api, *published)),
            *settings.extra("service-proxy"),
        ),
        environment=component_environment(layout.directory),
        log=layout.log("service-proxy"),
        readiness="notify",
        stop_rank=1,
    )


def rights() -> list[tuple[str, dict[str, Any]]]:
    """A role for it and its binding, as paths in the API and objects. No role of upstream's has pods and status."""
    role = {
        "apiVersion": f"{RBAC}/v1",
        "kind": "ClusterRole",
        "metadata": {"name": USER},
        "rules": [
            {"apiGroups": [""], "resources": ["services", "pods"], "verbs": ["list", "watch"]},
            {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
            {"apiGroups": [""], "resources": ["services/status"], "verbs": ["patch"]},
        ],
    }
    binding = {
        "apiVersion": f"{RBAC}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": USER},
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": USER},
        "subjects": [{"apiGroup": RBAC, "kind": "User", "name": USER}],
    }
    return [
        (f"/apis/{RBAC}/v1/clusterroles/{USER}", role),
        (f"/apis/{RBAC}/v1/clusterrolebindings/{USER}", binding),
    ]
