"""The options by which `kins up` and `kins plan` are told what cluster is wanted."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from kins import ClusterSpec

# docker's own registry image has it too.
DEFAULT_REGISTRY_PORT = 5000
Function = TypeVar("Function", bound=Callable[..., Any])


def _complete_addition(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    from kins.cluster.spec import ADDITIONS

    given, comma, last = incomplete.rpartition(",")
    return [f"{given}{comma}{name}" for name in ADDITIONS if name.startswith(last) and name not in given.split(",")]


OPTIONS = (
    click.option(
        "--level",
        type=click.Choice(["auto", "node", "fake", "control-plane"]),
        default="auto",
        show_default=True,
        help="What to bring up: the best that this sandbox carries, or this and nothing else.",
    ),
    click.option(
        "--control-plane-only",
        "level",
        flag_value="control-plane",
        help="No node: the API, controllers and scheduler only. The same as --level control-plane.",
    ),
    click.option(
        "--fake-nodes",
        type=click.IntRange(min=1),
        metavar="N",
        help="Simulated nodes, whose pods report that they run: beside a real one, or N instead of 1 at level fake.",
    ),
    click.option(
        "--with",
        "additions",
        multiple=True,
        metavar="ADDITION[,...]",
        shell_complete=_complete_addition,
        help="Use on the node, although mounts would do: intercept (system calls), cgroupfs (emulated control groups).",
    ),
    click.option(
        "-p",
        "--publish",
        "published",
        multiple=True,
        metavar="[ADDRESS:]PORT:NODEPORT",
        help="Lead a TCP port of this sandbox to a port of the node; on loopback, unless an address is given.",
    ),
    click.option(
        "--proxy-for-pods",
        is_flag=True,
        help="Tell pods that ask of the proxy in HTTP_PROXY and HTTPS_PROXY, and of the authorities in SSL_CERT_FILE.",
    ),
    click.option(
        "--kubelet",
        type=click.Choice(["auto", "stock", "no-cadvisor", "no-cgroups"]),
        default="auto",
        show_default=True,
        help="Upstream's, one without cAdvisor, or one without control groups.",
    ),
    click.option(
        "--arg", "arguments", multiple=True, metavar="COMPONENT:FLAG=VALUE", help="Pass a flag on to a component."
    ),
    click.option(
        "--registry",
        "registry",
        type=int,
        flag_value=DEFAULT_REGISTRY_PORT,
        help=f"With a registry of images on port {DEFAULT_REGISTRY_PORT} of loopback, whose images pods can pull.",
    ),
    click.option(
        "--registry-port",
        "registry",
        type=click.IntRange(1, 65535),
        metavar="PORT",
        help="The same on another port.",
    ),
)


# Those whose values are a request's fields of the same name.
AS_GIVEN = ("level", "kubelet", "registry", "proxy_for_pods", "fake_nodes")


def request_options(function: Function) -> Function:
    """All of them; `spec_of` makes a request of their values."""
    for option in reversed(OPTIONS):
        function = option(function)
    return function


def spec_of(
    name: str, *, additions: tuple[str, ...], published: tuple[str, ...], arguments: tuple[str, ...], **asked: Any
) -> ClusterSpec:
    """The request. Raises UsageError."""
    from kins import ClusterSpec
    from kins.cluster.spec import parse_publish

    return ClusterSpec(
        name=name,
        additions=_separated(additions),
        published=tuple(parse_publish(text) for text in published),
        arguments=_arguments(arguments),
        **{option: asked[option] for option in AS_GIVEN},
    )


def _separated(texts: tuple[str, ...]) -> tuple[str, ...]:
    """Each name once, in the order given; `--with a,b` and `--with a --with b` are the same."""
    return tuple(dict.fromkeys(name for text in texts for name in text.split(",")))


def _arguments(texts: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    from kins.cluster.spec import parse_argument

    found: dict[str, tuple[str, ...]] = {}
    for text in texts:
        component, flag = parse_argument(text)
        found[component] = (*found.get(component, ()), flag)
    return found
