"""`kins kubectl`."""

from __future__ import annotations

import os

import click


@click.command(
    "kubectl",
    # Help is our own as the first word only: what follows a word is kubectl's (`kins kubectl get --help`), and -h too,
    # which -nhello would be taken for.
    context_settings={
        "ignore_unknown_options": True,
        "allow_interspersed_args": False,
        "help_option_names": ["--help"],
    },
    options_metavar="",
    epilog="""\b
Examples:
  kins kubectl get pods -A
  kins kubectl dev -- apply -f app.yaml
""",
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[NAME --] ARGS...")
def command(arguments: tuple[str, ...]) -> None:
    """Run kubectl with ARGS against the cluster NAME (default: "default"). kubectl's own help: kins kubectl help."""
    from kins import Cluster

    name = "default"
    if len(arguments) > 1 and arguments[1] == "--":
        name, arguments = arguments[0], arguments[2:]
    program, argv, environment = Cluster(name).kubectl(arguments)
    os.execve(program, argv, environment)
