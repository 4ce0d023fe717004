"""kube-scheduler."""

from __future__ import annotations

from kins.components.environment import component_environment
from kins.components.layout import ENGINE, Layout
from kins.components.settings import Settings
from kins.supervise import Component


def kube_scheduler(layout: Layout, settings: Settings) -> Component:
    """The default scheduler, alone and therefore without leader election."""
    configuration = layout.client_configuration("kube-scheduler")
    return Component(
        name="kube-scheduler",
        argv=(
            str(ENGINE),
            "kube-scheduler",
            "--bind-address=127.0.0.1",
            f"--secure-port={settings.ports.scheduler}",
            f"--kubeconfig={configuration}",
            f"--authentication-kubeconfig={configuration}",
            f"--authorization-kubeconfig={configuration}",
            "--leader-elect=false",
            *settings.extra("kube-scheduler"),
        ),
        environment=component_environment(layout.directory),
        log=layout.log("kube-scheduler"),
        needs=("kube-apiserver",),
        stop_rank=1,
    )
