"""`kins up`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from kins.cli.names import name_argument
from kins.cli.output import output_option, show, talk
from kins.cli.plan_command import show_plan
from kins.cli.progress import Progress
from kins.cli.request import request_options, spec_of
from kins.cli.waiting import timeout_option, wait_option

if TYPE_CHECKING:
    from kins import Created


@click.command(
    "up",
    epilog="""\b
Examples:
  kins up                               a cluster named default
  kins up dev --control-plane-only      the API only: no root, no node
  kins up --level node                  a node, or an error that says what forbids it
  kins up --level fake --fake-nodes 3   simulated nodes: pods report that they run; no root
  kins up --fake-nodes 100              simulated nodes beside the real one
  kins up --timeout 5m --retain         keep a failed cluster to look at it
  kins up --arg kube-apiserver:v=4      pass a flag on to a component
  kins up -p 8080:30080                 port 8080 of this sandbox's loopback leads to node port 30080
  kins up --registry                    push images to localhost:5000, and name them so in pods
  kins up --with intercept,cgroupfs     a node that mounts neither control groups nor kernel settings
""",
)
@name_argument
@request_options
@timeout_option
@wait_option
@click.option("--retain", is_flag=True, help="Keep a cluster that failed; otherwise it is removed.")
@click.option("--dry-run", is_flag=True, help="Change nothing; print what would be done, as kins plan does.")
@output_option
def command(name: str, timeout: float, wait: bool, retain: bool, dry_run: bool, **asked: Any) -> None:
    """Bring up the cluster NAME (default: "default") and make it kubectl's current context.

    On a running cluster it says so and does nothing; a stopped one is started, a crashed one is recovered.
    """
    began = time.monotonic()
    from kins import Cluster

    spec = spec_of(name, **asked)
    if dry_run:
        show_plan(spec)
        return
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


def _context(created: Created) -> str:
    known = not any(event.phase == "kubeconfig" for event in created.events)
    uses = "kubectl uses it" if known else f"kubectl uses it after export KUBECONFIG={created.kubeconfig}"
    return f"{uses}: context {created.context} in {created.kubeconfig}"


def _simulation(created: Created) -> str:
    if not created.fake_nodes:
        return ""
    nodes = f"{created.fake_nodes} node{'s' if created.fake_nodes > 1 else ''}"
    where = "beside the real one" if created.level == "node" else "and no real one"
    return f"SIMULATED: {nodes}, {where}; pods there report that they run, and nothing in them does\n"


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
        f"{_simulation(created)}"
        f"{_context(created)}\n"
        f"{registry}"
        f"  kins kubectl {flag}get all -A"
    )
