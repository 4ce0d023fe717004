"""`kins image`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from kins.cli.output import output_option, show, table
from kins.errors import KinsError, UsageError

if TYPE_CHECKING:
    from kins.cluster.node_images import ListedImage, RemovedImage

Function = TypeVar("Function", bound=Callable[..., Any])
# What a digest is shortened to for people, as docker does.
SHORT_DIGEST = 12
UNITS = ("B", "kB", "MB", "GB")


def cluster_option(function: Function) -> Function:
    """`--name`, the cluster."""
    return click.option("--name", default="default", show_default=True, help="The cluster.")(function)


def _complete(context: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """The names of the cluster's images; none when it cannot be asked."""
    from kins import Cluster

    try:
        images = Cluster(context.params.get("name") or "default").images()
    except KinsError:
        return []
    return [name for image in images for name in image.names if name.startswith(incomplete)]


@click.group(
    "image",
    epilog="""\b
Examples:
  kins image load app.tar web.tar.gz
  kins image pull registry.example.com/app:1
  kins image list
""",
)
def command() -> None:
    """Images of a cluster's node."""


@command.command(
    "load",
    epilog="""\b
Examples:
  kins image load app.tar                a docker archive, gzip or not
  kins image load ./layout --name dev    an OCI layout
  docker save app:1 | kins image load -  from standard input
  kins image load app:1                  from a Docker or Podman that runs here
""",
)
@click.argument("sources", nargs=-1, required=True, type=click.Path(allow_dash=True), metavar="FILE|-|IMAGE...")
@cluster_option
@output_option
def load(sources: tuple[str, ...], name: str, **_: Any) -> None:
    """Load docker archives or OCI layouts into the node, for pods with imagePullPolicy IfNotPresent or Never.

    What is no file is taken for the name of an image in a Docker or Podman that runs here.
    """
    from kins import Cluster

    images = list(Cluster(name).load_images(sources))
    show(images, lambda: "\n".join(f"loaded {image.name}" for image in images))


@command.command(
    "pull",
    epilog="""\b
Examples:
  kins image pull registry.example.com/app:1
  kins image pull app:1 web:2 --name dev
""",
)
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@cluster_option
@output_option
def pull(images: tuple[str, ...], name: str, **_: Any) -> None:
    """Pull images from registries into the node, as the kubelet would.

    With the mirrors and the proxy that the node has, and with the credentials that `docker login` has stored.
    """
    from kins import Cluster

    pulled = list(Cluster(name).pull_images(images))
    show(pulled, lambda: "\n".join(f"pulled {image.name}" for image in pulled))


@command.command(
    "list",
    epilog="""\b
Examples:
  kins image list
  kins image list --output json
""",
)
@cluster_option
@output_option
def list_images(name: str, **_: Any) -> None:
    """List the images that pods can use."""
    from kins import Cluster

    images = Cluster(name).images()
    show(images, lambda: _list_text(images))


@command.command(
    "remove",
    epilog="""\b
Examples:
  kins image remove app:1
  kins image remove app:1 web:2 --name dev
""",
)
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...", shell_complete=_complete)
@cluster_option
@output_option
def remove(images: tuple[str, ...], name: str, **_: Any) -> None:
    """Remove names of images, and each image with its last name. Containers that run go on.

    An ID instead of a name removes all names of its image.
    """
    from kins import Cluster

    removed = Cluster(name).remove_images(images)
    show(removed, lambda: "\n".join(_removed_text(each) for each in removed))


@command.command(
    "save",
    epilog="""\b
Examples:
  kins image save app:1 -o app.tar
  kins image save app:1 web:2 | gzip > both.tar.gz
""",
)
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...", shell_complete=_complete)
@click.option(
    "-o",
    "--output",
    "file",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    help="The file to write; standard output without it.",
)
@cluster_option
def save(images: tuple[str, ...], file: Path | None, name: str) -> None:
    """Write images as one archive, which docker, podman and `kins image load` read."""
    from kins import Cluster

    target = None if file is None or str(file) == "-" else file
    if target is None and sys.stdout.isatty():
        raise UsageError(
            "an archive is nothing for a terminal",
            code="terminal-output",
            hint="kins image save app:1 -o app.tar",
        )
    Cluster(name).save_images(images, target)


def _list_text(images: list[ListedImage]) -> str:
    rows = [
        (name, image.id.partition(":")[2][:SHORT_DIGEST], _size(image.size))
        for image in images
        for name in image.names or image.digests or ("<none>",)
    ]
    return table(("IMAGE", "IMAGE ID", "SIZE"), rows)


def _removed_text(removed: RemovedImage) -> str:
    return f"removed {removed.name}" if removed.deleted else f"removed the name {removed.name}; its image has others"


def _size(size: float) -> str:
    """Bytes as docker shows them, in powers of a thousand."""
    unit = UNITS[0]
    for unit in UNITS:
        if size < 1000 or unit == UNITS[-1]:
            break
        size /= 1000
    return f"{size:.3g}{unit}"
