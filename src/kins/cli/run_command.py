"""`kins run`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from kins.cli.output import talk


@click.command(
    "run",
    # What follows the command's name is the command's, also where it looks like an option of ours.
    context_settings={"allow_interspersed_args": False},
    epilog="""\b
Examples:
  kins run -- k3s server --snapshotter overlayfs
  kins run -- dockerd --bridge=none --iptables=false
  kins run --data /srv/node -- sh -c 'containerd & exec kubelet --config=kubelet.yaml'
  kins run --publish 6443 -- k3s server
  kins run -- bash
""",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False, resolve_path=True),
    metavar="DIR",
    help="Keep there what the software has in its data directories; without it, that goes with the command.",
)
@click.option(
    "--writable",
    multiple=True,
    metavar="PATH",
    help="One more data directory, on a file system on which overlay works; may be given several times.",
)
@click.option(
    "--publish",
    "-p",
    "published",
    type=click.IntRange(1, 65535),
    multiple=True,
    metavar="PORT",
    help="A port that the software has on 127.0.0.1 and that is reached there from outside as well, also where the "
    "environment has a network of its own; may be given several times.",
)
@click.option(
    "--intercept/--no-intercept",
    "interception",
    default=True,
    show_default=True,
    help="Whether system calls may be intercepted where mounts are not enough.",
)
@click.argument("arguments", nargs=-1, required=True, type=click.UNPROCESSED, metavar="[--] COMMAND...")
def command(
    data: Path | None,
    writable: tuple[str, ...],
    published: tuple[int, ...],
    interception: bool,
    arguments: tuple[str, ...],
) -> None:
    """Run COMMAND, other node software such as k3s, dockerd or a kubelet, in this sandbox prepared for it.

    It finds control groups, kernel settings, /dev/kmsg, mount propagation and data directories on which overlay works.
    Mounts and processes of it are seen by nobody else. When COMMAND ends, all its processes end and everything is
    undone.

    The exit status is the command's: 128 and the number for a signal, 127 when it is not found, 126 when it cannot be
    executed. Signals and the terminal's keys reach it.
    """
    from kins.run.environment import Request
    from kins.run.running import run

    request = Request(command=arguments, data=data, writable=writable, published=published, interception=interception)
    sys.exit(run(request, lambda sentence: talk(f"note: {sentence}")))
