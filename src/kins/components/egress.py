"""The relay that leads pods to the outside of the sandbox (`network/internal/egress`)."""

from __future__ import annotations

from kins.components.environment import component_environment
from kins.components.layout import BINARIES, Layout
from kins.components.settings import Settings
from kins.supervise import Component


def egress(layout: Layout, settings: Settings) -> Component:
    """The relay. It takes from each pod what goes neither to a pod nor to a Service; the CNI plugin tells it of pods in
    the directory that they share. Ready, by sd_notify(3), means that all pods there have their way out."""
    return Component(
        name="egress",
        argv=(
            str(BINARIES / "kins-egress"),
            f"--directory={layout.egress}",
            f"--direct={settings.service_range},{settings.load_balancer_range}",
            *settings.extra("egress"),
        ),
        environment=component_environment(layout.directory),
        log=layout.log("egress"),
        readiness="notify",
        stop_rank=1,
    )
