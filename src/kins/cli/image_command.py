"""`kins image`."""

from __future__ import annotations

import os
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


@command.command(
    "build",
    epilog="""\b
Examples:
  kins image build -t app:1 .
  kins image build -t app:1 -f Dockerfile.dev --build-arg VERSION=2 --target debug .
  kins image build -t localhost:5000/app:1 --push .
  kins image build --secret id=token,src=token.txt --output app.tar -t app:1 .
""",
)
@click.argument("context", type=click.Path(path_type=Path))
@click.option(
    "-t", "--tag", "tags", multiple=True, metavar="NAME", help="A name of the image; may be given repeatedly."
)
@click.option("-f", "--file", type=click.Path(path_type=Path), help="The Dockerfile; CONTEXT/Dockerfile without it.")
@click.option("--build-arg", "arguments", multiple=True, metavar="NAME=VALUE", help="A value for an ARG.")
@click.option("--target", metavar="STAGE", help="The stage to build, instead of the last one.")
@click.option(
    "--secret", "secrets", multiple=True, metavar="id=ID,src=FILE", help="A secret for RUN --mount=type=secret."
)
@click.option("--no-cache", is_flag=True, help="Use no result of an earlier build.")
@click.option("--push", is_flag=True, help="Bring the image to the registry of its name, too.")
@click.option(
    "-o", "--output", "archive", type=click.Path(path_type=Path, dir_okay=False), help="Write an archive instead."
)
@cluster_option
def build(context: Path, **options: Any) -> None:
    """Build an image from a Dockerfile, with the directory CONTEXT, into the node: pods can use it at once.

    FROM finds images of the node before those of registries.
    """
    from kins import Cluster
    from kins.cluster.building import BuildRequest

    request = BuildRequest(
        context=context,
        file=options["file"],
        tags=options["tags"],
        arguments=_build_arguments(options["arguments"]),
        target=options["target"],
        secrets=options["secrets"],
        no_cache=options["no_cache"],
        output=options["archive"],
        push=options["push"],
    )
    Cluster(options["name"]).build_image(request)
    for name in request.tags:
        click.echo(f"built {name}")


def _build_arguments(texts: tuple[str, ...]) -> dict[str, str]:
    """`NAME=VALUE`, or `NAME` for the value that the environment has, as docker takes it."""
    pairs = {
        name: value if equals else os.environ.get(name) for name, equals, value in (t.partition("=") for t in texts)
    }
    return {name: value for name, value in pairs.items() if value is not None}


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
