"""The proxy for Services (`engine/internal/serviceproxy`), and what it may do at the API server."""

from __future__ import annotations

from kins.components.environment import component_environment
from kins.components.layout import ENGINE, Layout
from kins.components.objects import ApiObject, cluster_rights, rule
from kins.components.settings import Settings
from kins.supervise import Component

USER = "kins:service-proxy"
LOOPBACK = "127.0.0.1"


def service_proxy(layout: Layout, settings: Settings, *, publishing: bool = True) -> Component:
    """Answers on the addresses of Services, on host ports and on published ports.

    Ready, by sd_notify(3), means that everything that there was at its start is served. The endpoint of the Service
    `kubernetes` is the address that the API server advertises and does not listen on: it is led to loopback. So are the
    published ports to the node's, unless somebody else does it (not `publishing`).
    """
    api = f"{settings.node_address}:{settings.ports.api}={LOOPBACK}:{settings.ports.api}"
    shown = settings.published if publishing else ()
    published = (f"{each.address}:{each.port}={settings.node_address}:{each.node_port}" for each in shown)
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
            *((f"--addresses={layout.interception_rules}",) if settings.sockets else ()),
            *(f"--forward={each}" for each in (api, *published)),
            *settings.extra("service-proxy"),
        ),
        environment=component_environment(layout.directory),
        log=layout.log("service-proxy"),
        readiness="notify",
        needs=("kube-apiserver",),
        stop_rank=1,
    )


def rights() -> tuple[ApiObject, ...]:
    """A role for it and its binding. No role of upstream's has pods and status."""
    return cluster_rights(
        USER,
        rule("", "services pods", "list watch"),
        rule("discovery.k8s.io", "endpointslices", "list watch"),
        rule("", "services/status", "patch"),
    )
