"""kube-apiserver."""

from __future__ import annotations

from kins.components import kwok
from kins.components.environment import component_environment
from kins.components.layout import ENGINE, Layout
from kins.components.settings import Settings
from kins.supervise import Component


def kube_apiserver(layout: Layout, settings: Settings) -> Component:
    """The API on loopback.

    `--advertise-address` is the node's address, not the loopback one, which upstream refuses in an Endpoints object;
    the `lease` reconciler does not need that address to exist. Ready, by sd_notify(3), means that it answers; its
    /readyz comes later.
    """
    addresses = ["InternalIP", "Hostname"]
    if settings.simulation is not None:
        addresses.insert(0, kwok.ADDRESS_TYPE)
    return Component(
        name="kube-apiserver",
        argv=(
            str(ENGINE),
            "kube-apiserver",
            f"--etcd-servers=unix://{layout.etcd_socket}",
            "--bind-address=127.0.0.1",
            f"--secure-port={settings.ports.api}",
            f"--advertise-address={settings.node_address}",
            "--endpoint-reconciler-type=lease",
            # Webhooks and other API servers are reached at their Services' endpoints, with or without a proxy here.
            "--enable-aggregator-routing",
            f"--service-cluster-ip-range={settings.service_range}",
            f"--client-ca-file={layout.certificate('ca')}",
            f"--tls-cert-file={layout.certificate('kube-apiserver')}",
            f"--tls-private-key-file={layout.key('kube-apiserver')}",
            f"--service-account-key-file={layout.pki / 'sa.pub'}",
            f"--service-account-signing-key-file={layout.key('sa')}",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--allow-privileged=true",
            f"--kubelet-client-certificate={layout.certificate('kube-apiserver-kubelet-client')}",
            f"--kubelet-client-key={layout.key('kube-apiserver-kubelet-client')}",
            f"--kubelet-certificate-authority={layout.certificate('ca')}",
            f"--kubelet-preferred-address-types={','.join(addresses)}",
            f"--requestheader-client-ca-file={layout.certificate('front-proxy-ca')}",
            "--requestheader-allowed-names=front-proxy-client",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-username-headers=X-Remote-User",
            f"--proxy-client-cert-file={layout.certificate('front-proxy-client')}",
            f"--proxy-client-key-file={layout.key('front-proxy-client')}",
            "--enable-bootstrap-token-auth=true",
            *settings.extra("kube-apiserver"),
        ),
        environment=component_environment(layout.directory),
        log=layout.log("kube-apiserver"),
        readiness="notify",
        needs=("etcd",),
        stop_rank=2,
    )
