"""`kins status`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from kins.cli.names import name_argument
from kins.cli.output import output_option, show, table

if TYPE_CHECKING:
    from kins import Status
    from kins.cluster.status import ComponentHealth


@click.command(
    "status",
    epilog="""\b
Examples:
  kins status
  kins status dev --output json
""",
)
@name_argument
@output_option
def command(name: str, **_: Any) -> None:
    """Show level, components, node and API of the cluster NAME. Exit code 1 unless all is well."""
    from kins import Cluster

    status = Cluster(name).status()
    show(status, lambda: _text(status))
    sys.exit(0 if status.state == "running" and status.healthy else 1)


def _text(status: Status) -> str:
    lines = [f"Cluster {status.name!r}: {status.state}, level {status.level}"]
    if status.state == "stopped":
        return f"{lines[0]}\nhint: kins start {status.name} brings it back, kins down {status.name} removes it"
    if status.state == "crashed":
        return f"{lines[0]}\nhint: kins up {status.name} recovers it, kins down {status.name} removes it"
    if status.api is not None:
        lines.append(f"API     {status.api.server}   {'ready' if status.api.ready else 'not ready'}")
    if status.node is not None:
        lines.append(f"Node    {status.node.name}   {'Ready' if status.node.ready else 'NotReady'}")
    if status.simulated:
        ready = sum(each.ready for each in status.simulated)
        lines.append(f"SIMULATED nodes: {len(status.simulated)}, Ready: {ready}; nothing in their pods runs")
    if status.kubelet is not None:
        lines.append(f"Kubelet {status.kubelet.kind}   {status.kubelet.because}")
    if status.registry is not None:
        lines.append(f"Registry {status.registry}")
    lines += [f"Missing {missing.cause}: {missing.hint}" for missing in status.missing]
    lines += [f"Limit   {limit}" for limit in status.limits]
    lines += [f"Port    {each.address}:{each.port}   node port {each.node_port}" for each in status.published]
    rows = [_row(component) for component in status.components]
    header = ("COMPONENT", "STATE", "HEALTH", "PID", "UPTIME", "RESTARTS", "MEMORY", "LAST EXIT")
    return "\n".join([*lines, "", table(header, rows)])


def _row(component: ComponentHealth) -> tuple[str, ...]:
    health = {True: "ok", False: "failing", None: "-"}[component.healthy]
    return (
        component.name,
        component.state,
        health,
        str(component.pid or "-"),
        f"{component.uptime_seconds:.0f}s",
        str(component.restarts),
        f"{component.memory_bytes / 2**20:.0f}Mi",
        component.last_exit or "-",
    )
