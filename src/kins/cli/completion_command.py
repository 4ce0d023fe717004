"""`kins completion`."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command(
    "completion",
    epilog="""\b
Examples:
  source <(kins completion bash)
  kins completion zsh > "${fpath[1]}/_kins"
  kins completion fish > ~/.config/fish/completions/kins.fish
""",
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print the completion script for SHELL."""
    from kins.cli.main import cli

    completion = get_completion_class(shell)
    assert completion is not None, "click knows these three shells"
    click.echo(completion(cli, {}, "kins", "_KINS_COMPLETE").source())
