"""`kins image`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from kins.cli.output import output_option, show


@click.group("image", epilog="\b\nExamples:\n  kins image load app.tar web.tar.gz\n")
def command() -> None:
    """Images of a cluster's node."""


@command.command(
    "load",
    epilog="""\b
Examples:
  kins image load app.tar                a docker archive, gzip or not
  kins image load ./layout --name dev    an OCI layout
""",
)
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--name", default="default", show_default=True, help="The cluster.")
@output_option
def load(files: tuple[Path, ...], name: str, **_: Any) -> None:
    """Load docker archives or OCI layouts FILES into the node, for pods with imagePullPolicy IfNotPresent or Never."""
    from kins import Cluster

    images = list(Cluster(name).load_images(files))
    show(images, lambda: "\n".join(f"loaded {image.name}" for image in images))
