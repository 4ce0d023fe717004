"""`kins logs`."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import click

from kins.errors import UsageError

# How often a followed log is looked at: a file offers no event that works on every file system of our sandboxes.
FOLLOW_SECONDS = 0.2


def _complete(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    from kins.components import COMPONENT_NAMES

    return [name for name in (*COMPONENT_NAMES, "supervisor") if name.startswith(incomplete)]


@click.command(
    "logs",
    epilog="""\b
Examples:
  kins logs                        the last lines of every component
  kins logs kubelet -f
  kins logs etcd --name dev --tail 100
""",
)
@click.argument("component", required=False, shell_complete=_complete)
@click.option("-f", "--follow", is_flag=True, help="Go on with what is written from now on.")
@click.option("--tail", "lines", default=20, show_default=True, help="How many lines of each log.")
@click.option("--name", default="default", show_default=True, help="The cluster.")
def command(component: str | None, follow: bool, lines: int, name: str) -> None:
    """Show the log of COMPONENT, or of all of them."""
    from kins import Cluster
    from kins.supervise.logs import size, tail

    logs = Cluster(name).logs()
    if component is not None and component not in logs:
        raise UsageError(f"no log of {component!r}", code="unknown-component", hint=f"one of: {', '.join(logs)}")
    chosen = {component: logs[component]} if component is not None else logs
    # What is written while we print must come afterwards: once, and not never.
    positions = {each: size(log) for each, log in chosen.items()}
    for each, log in chosen.items():
        for line in tail(log, lines, positions[each]):
            click.echo(line if component else f"{each}: {line}")
    if follow:
        _follow(chosen, positions, named=component is None)


def _follow(logs: dict[str, Path], positions: dict[str, int], *, named: bool) -> None:
    from kins.supervise.logs import read_new

    at_line_start = dict.fromkeys(logs, True)
    while any(log.exists() for log in logs.values()):
        for name, log in logs.items():
            for chunk, position in read_new(log, positions[name]):
                positions[name] = position
                text = chunk.decode(errors="replace")
                if named:
                    lines = f"{name}: ".join(text.splitlines(keepends=True))
                    text = f"{name}: {lines}" if at_line_start[name] else lines
                at_line_start[name] = text.endswith("\n")
                sys.stdout.write(text)
                sys.stdout.flush()
        time.sleep(FOLLOW_SECONDS)
