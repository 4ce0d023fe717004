"""`kins plan`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from kins.cli.names import name_argument
from kins.cli.output import output_option, show
from kins.cli.request import request_options, spec_of

if TYPE_CHECKING:
    from kins import ClusterSpec


@click.command(
    "plan",
    epilog="""\b
Examples:
  kins plan                             what would be done here, as a commented script
  kins plan > plan.sh; sh plan.sh       do it by hand; Ctrl-C takes everything back
  kins plan --level control-plane       all options that say which cluster is wanted
  kins plan --output json               level, decisions, steps and components for programs
""",
)
@name_argument
@request_options
@output_option
def command(name: str, **asked: Any) -> None:
    """Print what `kins up` would do in this sandbox for the cluster NAME (default: "default"), and change nothing.

    The script does it with ordinary programs, each step with the fact or need that asks for it.
    """
    show_plan(spec_of(name, **asked))


def show_plan(spec: ClusterSpec) -> None:
    """Ask the sandbox and print the plan."""
    from kins import Cluster

    planned = Cluster.plan(spec)
    show(planned, planned.script.rstrip)
