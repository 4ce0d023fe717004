"""The relay that leads pods to the outside of the sandbox (`network/internal/egress`)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from kins.components.environment import component_environment
from kins.components.layout import BINARIES, Layout
from kins.components.service_proxy import LOOPBACK
from kins.components.settings import Settings
from kins.supervise import Component


class Crossing(msgspec.Struct, frozen=True, kw_only=True):
    """How a node in a network of its own reaches the sandbox's. `way_out`: its own address for that; `loopback`: a
    range there, and the one of the sandbox's loopback that it stands for; `registry`: the port of the registry."""

    way_out: str
    loopback: tuple[str, str]
    registry: int | None


def egress(layout: Layout, settings: Settings, crossing: Crossing | None = None) -> Component:
    """The relay. It takes from each pod what goes neither to a pod nor to a Service; the CNI plugin tells it of pods in
    the directory that they share. Ready, by sd_notify(3), means that all pods there have their way out, and that the
    ways into a node in a network of its own are open."""
    return Component(
        name="egress",
        argv=(
            *command(layout.egress),
            *(_crossing(layout, settings, crossing) if crossing is not None else (f"--direct={_services(settings)}",)),
            *settings.extra("egress"),
        ),
        environment=component_environment(layout.directory),
        log=layout.log("egress"),
        readiness="notify",
        stop_rank=1,
    )


def command(directory: Path) -> tuple[str, ...]:
    """The program, with the directory in which it is told of pods."""
    return (str(BINARIES / "kins-egress"), f"--directory={directory}")


def ways(way_out: str, loopback: tuple[str, str], ways_in: Iterable[str]) -> tuple[str, ...]:
    """Its arguments for a network that is not the sandbox's. The first two are those of `Crossing`; ways in are like
    `on_loopback`."""
    return (f"--node={way_out}", f"--loopback={'='.join(loopback)}", *(f"--entrance={each}" for each in ways_in))


def on_loopback(port: int) -> str:
    """The way in from a port of loopback to the same one."""
    return f"{LOOPBACK}:{port}={LOOPBACK}:{port}"


def _services(settings: Settings) -> str:
    return f"{settings.service_range},{settings.load_balancer_range}"


def _crossing(layout: Layout, settings: Settings, crossing: Crossing) -> tuple[str, ...]:
    ways_in = [on_loopback(port) for port in _ports(settings, crossing)]
    ways_in += [f"{each.address}:{each.port}={settings.node_address}:{each.node_port}" for each in settings.published]
    # Pods' packets for Services are not forwarded in such a network, so the relay takes them too.
    here = f"--here={_services(settings)}"
    return (f"--outside={layout.outside_socket}", here, *ways(crossing.way_out, crossing.loopback, ways_in))


def _ports(settings: Settings, crossing: Crossing) -> list[int]:
    """What is asked on loopback from outside: the API server, `kins status` the others."""
    ports = settings.ports
    found = [ports.api, ports.controller_manager, ports.scheduler, ports.kubelet_health]
    return [*found, *([crossing.registry] if crossing.registry is not None else [])]
