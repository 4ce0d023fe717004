"""`kins list`."""

from __future__ import annotations

from typing import Any

import click

from kins.cli.output import output_option, show, table


@click.command("list", epilog="\b\nExamples:\n  kins list\n  kins list --output json\n")
@output_option
def command(**_: Any) -> None:
    """List clusters with their state and level."""
    from kins import Cluster

    found = [Cluster(name).summary() for name in Cluster.names()]
    rows = [tuple(str(cluster[key] or "-") for key in ("name", "state", "level")) for cluster in found]
    show(found, lambda: table(("NAME", "STATE", "LEVEL"), rows) if rows else "no clusters")
