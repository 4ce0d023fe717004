"""CoreDNS: the names of Services and pods, and for outside names the way to the sandbox's own resolvers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kins.components.environment import component_environment
from kins.components.layout import BINARIES, Layout
from kins.components.objects import ApiObject, cluster_rights, rule
from kins.components.settings import CLUSTER_DOMAIN, Settings
from kins.supervise import Component

USER = "system:coredns"
# The name that charts and programs look for, whatever serves it (kubernetes.io: Customizing DNS Service).
SERVICE = "kube-dns"
NAMESPACE = "kube-system"
PORT = 53

# One zone for the names of the cluster, by name and by address, and one for all others; on the Service's own address.
# - `pods insecure`: an address for 10-42-0-7.NAMESPACE.pod.cluster.local without looking whether that pod exists, as
#   upstream's clusters have it; anything else would keep every pod in memory.
# - `startup_timeout`: it answers when it knows the cluster, and not earlier.
# - The cluster's names are not cached: they are in memory, and a new Service is found at once.
CONFIGURATION = """\
{domain} {pods} {services} {{
    bind {address}
    errors
    kubernetes {{
        kubeconfig {kubeconfig}
        pods insecure
        startup_timeout 30s
    }}
    loadbalance
}}
. {{
    bind {address}
    errors
    cache 30
    {outside}
}}
"""
# A resolver that does not answer is asked again in the background; meanwhile questions fail at once.
FORWARD = """\
forward . {resolvers} {{
        max_fails 1
        health_check 2s
        failfast_all_unhealthy_upstreams
    }}"""
# "No such name" and not "refused": musl's resolver takes every other answer for none and waits for its time-out
# (src/network/res_msend.c).
NO_SUCH_NAME = """\
template ANY ANY {
        rcode NXDOMAIN
    }"""


def configuration_file(layout: Layout) -> Path:
    """The file of `configuration`."""
    return layout.configuration / "Corefile"


def configuration(layout: Layout, settings: Settings, resolvers: Sequence[str]) -> str:
    """The Corefile. `resolvers` are addresses of outside ones; without any, outside names do not exist."""
    outside = FORWARD.format(resolvers=" ".join(resolvers)) if resolvers else NO_SUCH_NAME
    return CONFIGURATION.format(
        domain=CLUSTER_DOMAIN,
        pods=settings.pod_range,
        services=settings.service_range,
        address=settings.socket(settings.dns_address),
        kubeconfig=layout.client_configuration("coredns"),
        outside=outside,
    )


def coredns(layout: Layout, settings: Settings) -> Component:
    """CoreDNS on the Service's address. Ready, by sd_notify(3), means that it knows the cluster and answers."""
    return Component(
        name="coredns",
        argv=(
            str(BINARIES / "coredns"),
            "-conf",
            str(configuration_file(layout)),
            *settings.extra("coredns"),
        ),
        environment=component_environment(layout.directory),
        log=layout.log("coredns"),
        readiness="notify",
        needs=("kube-apiserver",),
        stop_rank=1,
    )


def objects(settings: Settings) -> tuple[ApiObject, ...]:
    """What CoreDNS may do (its kubernetes plugin's documentation), and the Service under which it is found.

    The Service has no selector: CoreDNS is no pod. Its endpoint is its own address, which tells the proxy for Services
    that somebody else answers there.
    """
    return (
        *cluster_rights(
            USER,
            rule("", "services namespaces", "list watch"),
            rule("discovery.k8s.io", "endpointslices", "list watch"),
        ),
        *_service(settings),
    )


def _service(settings: Settings) -> tuple[ApiObject, ApiObject]:
    ports = [{"name": "dns", "protocol": "UDP", "port": PORT}, {"name": "dns-tcp", "protocol": "TCP", "port": PORT}]
    place = {"name": SERVICE, "namespace": NAMESPACE}
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {**place, "labels": {"k8s-app": SERVICE}},
        "spec": {"clusterIP": settings.dns_address, "ports": ports},
    }
    labels = {"kubernetes.io/service-name": SERVICE, "endpointslice.kubernetes.io/managed-by": "kins"}
    endpoints = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {**place, "labels": labels},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [settings.dns_address], "conditions": {"ready": True}}],
        "ports": ports,
    }
    collection = f"/namespaces/{NAMESPACE}"
    return (
        ApiObject(collection=f"/api/v1{collection}/services", content=service),
        ApiObject(collection=f"/apis/discovery.k8s.io/v1{collection}/endpointslices", content=endpoints),
    )
