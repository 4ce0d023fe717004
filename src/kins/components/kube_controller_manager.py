"""kube-controller-manager."""

from __future__ import annotations

from kins.components.environment import component_environment
from kins.components.layout import ENGINE, Layout
from kins.components.settings import Settings
from kins.supervise import Component


def kube_controller_manager(layout: Layout, settings: Settings) -> Component:
    """Every controller that upstream runs by default.

    The client's rate limit is raised because the first round of its forty controllers' service-account calls takes
    4-6 s with upstream's 20/30 per second, and the default ServiceAccount waits behind it.
    """
    configuration = layout.client_configuration("kube-controller-manager")
    return Component(
        name="kube-controller-manager",
        argv=(
            str(ENGINE),
            "kube-controller-manager",
            "--bind-address=127.0.0.1",
            f"--secure-port={settings.ports.controller_manager}",
            f"--kubeconfig={configuration}",
            f"--authentication-kubeconfig={configuration}",
            f"--authorization-kubeconfig={configuration}",
            f"--client-ca-file={layout.certificate('ca')}",
            f"--requestheader-client-ca-file={layout.certificate('front-proxy-ca')}",
            f"--service-account-private-key-file={layout.key('sa')}",
            f"--root-ca-file={layout.certificate('ca')}",
            f"--cluster-signing-cert-file={layout.certificate('ca')}",
            f"--cluster-signing-key-file={layout.key('ca')}",
            "--use-service-account-credentials",
            "--leader-elect=false",
            "--allocate-node-cidrs=false",
            "--controllers=*,bootstrap-signer-controller,token-cleaner-controller",
            "--kube-api-qps=1000",
            "--kube-api-burst=2000",
            *settings.extra("kube-controller-manager"),
        ),
        environment=component_environment(layout.directory),
        log=layout.log("kube-controller-manager"),
        needs=("kube-apiserver",),
        stop_rank=1,
    )
