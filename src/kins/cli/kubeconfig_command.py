"""`kins kubeconfig`."""

from __future__ import annotations

from typing import Any

import click

from kins.cli.names import name_argument
from kins.cli.output import output_option, show


@click.group(
    "kubeconfig", epilog="\b\nExamples:\n  kins kubeconfig get > cluster.kubeconfig\n  kins kubeconfig merge dev\n"
)
def command() -> None:
    """Get, merge or remove a cluster's kubeconfig."""


@command.command("get", epilog="\b\nExamples:\n  kins kubeconfig get dev > dev.kubeconfig\n")
@name_argument
def get(name: str) -> None:
    """Print a kubeconfig with the cluster NAME only."""
    from kins import Cluster

    click.echo(Cluster(name).kubeconfig.read_text(), nl=False)


@command.command("merge", epilog="\b\nExamples:\n  KUBECONFIG=ci.kubeconfig kins kubeconfig merge\n")
@name_argument
@output_option
def merge(name: str, **_: Any) -> None:
    """Write the cluster NAME into kubectl's configuration and make it current."""
    from kins import Cluster

    path = Cluster(name).merge_kubeconfig()
    show({"path": str(path)}, lambda: f"context kins-{name} is current in {path}")


@command.command("remove", epilog="\b\nExamples:\n  kins kubeconfig remove dev\n")
@name_argument
@output_option
def remove(name: str, **_: Any) -> None:
    """Take the cluster NAME out of kubectl's configuration; the cluster goes on."""
    from kins import Cluster

    paths = [str(path) for path in Cluster(name).remove_kubeconfig()]
    show(
        {"paths": paths},
        lambda: f"context kins-{name} is removed from {', '.join(paths) or 'nowhere: it was not there'}",
    )
