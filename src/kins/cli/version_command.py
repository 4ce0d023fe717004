"""`kins version`."""

from __future__ import annotations

from typing import Any

import click

from kins.cli.output import output_option, show, table


@click.command("version", epilog="\b\nExamples:\n  kins version --output json\n")
@output_option
def command(**_: Any) -> None:
    """Show the versions of kins and of the software in it."""
    from kins.components.versions import shipped_versions

    found = shipped_versions()
    show(found, lambda: table(("SOFTWARE", "VERSION"), list(found.items())))
