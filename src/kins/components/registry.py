"""A registry of images on loopback, for what is pushed inside the sandbox."""

from __future__ import annotations

from kins.components.environment import component_environment
from kins.components.layout import ENGINE, Layout
from kins.components.settings import Settings
from kins.supervise import Component


def address(port: int) -> str:
    """How its images' names begin. docker and containerd speak plain HTTP to localhost without being told."""
    return f"localhost:{port}"


def registry(layout: Layout, settings: Settings, port: int) -> Component:
    """The registry of the distribution project; what is pushed stays in the cluster's directory."""
    return Component(
        name="registry",
        argv=(
            str(ENGINE),
            "registry",
            f"--address=127.0.0.1:{port}",
            f"--directory={layout.registry}",
            *settings.extra("registry"),
        ),
        environment=component_environment(layout.directory),
        log=layout.log("registry"),
        readiness="notify",
        stop_rank=2,
    )
