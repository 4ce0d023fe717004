"""`kins down`."""

from __future__ import annotations

from typing import Any

import click

from kins.cli.names import name_argument
from kins.cli.output import output_option, show, talk
from kins.errors import KinsError


@click.command(
    "down",
    epilog="""\b
Examples:
  kins down            the cluster named default
  kins down dev
  kins down --all
""",
)
@name_argument
@click.option("--all", "everything", is_flag=True, help="Every cluster.")
@output_option
def command(name: str, everything: bool, **_: Any) -> None:
    """Remove the cluster NAME: processes, mounts, links, files and its kubeconfig entry.

    Works on crashed and half-made clusters too. Removing what does not exist is no error.
    """
    from kins import Cluster
    from kins.run.remains import clear_remains

    if count := clear_remains():
        talk(f"what {count} killed `kins run` left is undone")
    deleted = []
    for each in Cluster.names() if everything else [name]:
        try:
            deleted.append(Cluster(each).down())
        except KinsError as error:
            if error.code != "no-such-cluster":
                raise
            talk(f"{error.message}; nothing to do")
    show(deleted, lambda: "\n".join(f"Cluster {each.name!r} is removed" for each in deleted))
