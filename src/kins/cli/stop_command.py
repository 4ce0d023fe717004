"""`kins stop`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from kins.cli.names import name_argument
from kins.cli.output import output_option, show

if TYPE_CHECKING:
    from kins import Stopped


@click.command(
    "stop",
    epilog="""\b
Examples:
  kins stop            the cluster named default
  kins stop dev
  kins stop --all
""",
)
@name_argument
@click.option("--all", "everything", is_flag=True, help="Every cluster.")
@output_option
def command(name: str, everything: bool, **_: Any) -> None:
    """Stop the cluster NAME and keep its data: objects, volumes, loaded images.

    Containers get the grace that their pods ask for, at most 30 s. After that nothing of the cluster runs, listens or
    is mounted. Stopping a stopped cluster is no error; what a crashed one left behind is cleared, and it counts as
    stopped.
    """
    from kins import Cluster

    stopped = [Cluster(each).stop() for each in (Cluster.names() if everything else [name])]
    show(stopped, lambda: "\n".join(map(_text, stopped)))


def _text(stopped: Stopped) -> str:
    if stopped.outcome == "already-stopped":
        return f"Cluster {stopped.name!r} is already stopped"
    return f"Cluster {stopped.name!r} is stopped; kins start {stopped.name} brings it back"
