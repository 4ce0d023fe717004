"""`kins up`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from kins.cli.names import name_argument
from kins.cli.output import output_option, show, talk
from kins.cli.progress import Progress
from kins.cli.waiting import timeout_option, wait_option

if TYPE_CHECKING:
    from kins import ClusterSpec, Created
    from kins.cluster.spec import AskedLevel

# docker's own registry image has it too.
DEFAULT_REGISTRY_PORT = 5000


def _complete_addition(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    from kins.cluster.spec import ADDITIONS

    given, comma, last = incomplete.rpartition(",")
    return [f"{given}{comma}{name}" for name in ADDITIONS if name.startswith(last) and name not in given.split(",")]


@click.command(
    "up",
    epilog="""\b
Examples:
  kins up                               a cluster named default
  kins up dev --control-plane-only      the API only: no root, no node
  kins up --level node                  a node, or an error that says what forbids it
  kins up --timeout 5m --retain         keep a failed cluster to look at it
  kins up --arg kube-apiserver:v=4      pass a flag on to a component
  kins up -p 8080:30080                 port 8080 of this sandbox's loopback leads to node port 30080
  kins up --registry                    push images to localhost:5000, and name them so in pods
  kins up --with intercept,cgroupfs     a node that mounts neither control groups nor kernel settings
""",
)
@name_argument
@click.option(
    "--level",
    type=click.Choice(["auto", "node", "control-plane"]),
    default="auto",
    show_default=True,
    help="What to bring up: the best that this sandbox carries, or this and nothing else.",
)
@click.option(
    "--control-plane-only",
    "level",
    flag_value="control-plane",
    help="No node: the API, controllers and scheduler only. The same as --level control-plane.",
)
@click.option(
    "--with",
    "additions",
    multiple=True,
    metavar="ADDITION[,...]",
    shell_complete=_complete_addition,
    help="Use on the node, although mounts would do: intercept (system calls), cgroupfs (emulated control groups).",
)
@click.option(
    "-p",
    "--publish",
    "published",
    multiple=True,
    metavar="[ADDRESS:]PORT:NODEPORT",
    help="Lead a TCP port of this sandbox to a port of the node; on loopback, unless an address is given.",
)
@click.option(
    "--proxy-for-pods",
    is_flag=True,
    help="Tell pods that ask of the proxy in HTTP_PROXY and HTTPS_PROXY, and of the authorities in SSL_CERT_FILE.",
)
@click.option(
    "--kubelet",
    type=click.Choice(["auto", "stock", "no-cadvisor", "no-cgroups"]),
    default="auto",
    show_default=True,
    help="Upstream's, one without cAdvisor, or one without control groups.",
)
@timeout_option
@wait_option
@click.option("--retain", is_flag=True, help="Keep a cluster that failed; otherwise it is removed.")
@click.option(
    "--arg", "arguments", multiple=True, metavar="COMPONENT:FLAG=VALUE", help="Pass a flag on to a component."
)
@click.option(
    "--registry",
    "registry",
    type=int,
    flag_value=DEFAULT_REGISTRY_PORT,
    help=f"With a registry of images on port {DEFAULT_REGISTRY_PORT} of loopback, whose images pods can pull.",
)
@click.option(
    "--registry-port",
    "registry",
    type=click.IntRange(1, 65535),
    metavar="PORT",
    help="The same on another port.",
)
@output_option
def command(name: str, timeout: float, wait: bool, retain: bool, **asked: Any) -> None:
    """Bring up the cluster NAME (default: "default") and make it kubectl's current context.

    On a running cluster it says so and does nothing; a stopped one is started, a crashed one is recovered.
    """
    began = time.monotonic()
    from kins import Cluster

    spec = _spec(name, **asked)
    with Progress(f"bringing up {name}") as progress:
        try:
            _, created = Cluster.up(spec, timeout=timeout, wait=wait, retain=retain, progress=progress, began=began)
        except KeyboardInterrupt:
            talk("kins: what was begun is kept" if retain else "kins: what was begun has been undone")
            raise
    tell(created, time.monotonic() - began)


def tell(created: Created, seconds: float) -> None:
    """Show what came up, in how many seconds, and why it is no more than that."""
    show(created, lambda: _text(created, seconds))
    for missing in created.missing:
        talk(f"note: no node: {missing.cause}. {missing.consequence}")
        talk(f"hint: {missing.hint}")


def _spec(
    name: str,
    *,
    level: AskedLevel,
    kubelet: str,
    additions: tuple[str, ...],
    published: tuple[str, ...],
    arguments: tuple[str, ...],
    registry: int | None,
    proxy_for_pods: bool,
    **__: Any,
) -> ClusterSpec:
    from kins import ClusterSpec
    from kins.cluster.spec import parse_publish

    return ClusterSpec(
        name=name,
        level=level,
        kubelet=kubelet,
        additions=_separated(additions),
        published=tuple(parse_publish(text) for text in published),
        arguments=_arguments(arguments),
        registry=registry,
        proxy_for_pods=proxy_for_pods,
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


def _context(created: Created) -> str:
    known = not any(event.phase == "kubeconfig" for event in created.events)
    uses = "kubectl uses it" if known else f"kubectl uses it after export KUBECONFIG={created.kubeconfig}"
    return f"{uses}: context {created.context} in {created.kubeconfig}"


def _text(created: Created, seconds: float) -> str:
    if created.outcome == "already-running":
        return f"Cluster {created.name!r} is already running at {created.server}"
    verb = {"created": "ready", "started": "started", "recovered": "recovered"}[created.outcome]
    flag = "" if created.name == "default" else f"{created.name} -- "
    registry = (
        f"images can be pushed to {created.registry}, and pods pull them by that name\n" if created.registry else ""
    )
    return (
        f"Cluster {created.name!r} is {verb} after {seconds:.1f} s: level {created.level}, {created.server}\n"
        f"{_context(created)}\n"
        f"{registry}"
        f"  kins kubectl {flag}get all -A"
    )
