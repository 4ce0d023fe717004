"""`kins start`."""

from __future__ import annotations

import time
from typing import Any

import click

from kins.cli.names import name_argument
from kins.cli.output import output_option
from kins.cli.progress import Progress
from kins.cli.up_command import tell
from kins.cli.waiting import timeout_option, wait_option


@click.command(
    "start",
    epilog="""\b
Examples:
  kins start           the cluster named default
  kins start dev --timeout 5m
""",
)
@name_argument
@timeout_option
@wait_option
@output_option
def command(name: str, timeout: float, wait: bool, **_: Any) -> None:
    """Start the cluster NAME again, as it was made: same level, flags, objects, volumes and loaded images.

    A crashed cluster is recovered; on a running one it says so and does nothing. A start that fails leaves the data. It
    makes no cluster: that is what `kins up` is for.
    """
    began = time.monotonic()
    from kins import Cluster

    with Progress(f"starting {name}") as progress:
        created = Cluster(name).start(timeout=timeout, wait=wait, progress=progress, began=began)
    tell(created, time.monotonic() - began)
