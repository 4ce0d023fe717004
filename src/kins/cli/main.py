"""The `kins` command."""

from __future__ import annotations

import os
import sys
from importlib import import_module

import click

from kins.cli.output import asked_for_json, report
from kins.errors import KinsError, UsageError, system_error

# Command: (module, one-line help). The modules are loaded when used: `kins --help` must not wait for them.
COMMANDS = {
    "up": "Bring up a cluster.",
    "plan": "Show what up would do here, and do nothing.",
    "stop": "Stop a cluster and keep its data.",
    "start": "Start a cluster that was stopped.",
    "down": "Remove a cluster completely.",
    "status": "Show how a cluster is.",
    "list": "List clusters.",
    "doctor": "Explain what this sandbox can do.",
    "logs": "Show the logs of a cluster's components.",
    "kubectl": "Run kubectl against a cluster.",
    "kubeconfig": "Get, merge or remove a cluster's kubeconfig.",
    "image": "Load, build, pull, list and save images of a node.",
    "intercept": "Run a command with some system calls answered otherwise.",
    "run": "Run other node software in the sandbox, prepared for it.",
    "soak": "Watch a running cluster under a load.",
    "experiments": "Repeat the experiments of a research report.",
    "completion": "Print the completion script for a shell.",
    "version": "Show the versions of kins and of what it runs.",
}


class LazyGroup(click.Group):
    """A group whose commands are modules of this package with an attribute `command`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"kins.cli.{cmd_name}_command").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _print_version(context: click.Context, _: click.Parameter, asked: bool) -> None:
    if asked and not context.resilient_parsing:
        from kins.components.versions import shipped_versions

        click.echo(f"kins {shipped_versions()['kins']}")
        context.exit()


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
    epilog="Exit codes: 0 success, 1 failure, 2 wrong usage, 130 interrupted.",
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show kins' own version.",
)
def cli() -> None:
    """A real Kubernetes where none can run: in sandboxes, unprivileged containers, small CI runners.

    \b
      kins up                      bring up a cluster and point kubectl at it
      kins kubectl get nodes       the bundled kubectl
      kins image load app.tar      images without a registry
      kins down                    remove everything
    """


def main() -> None:
    """Run the command and turn errors into one clear message and an exit code."""
    try:
        # By its name, however it was started: usage lines, completion and the JSON envelope's `command` build on it.
        cli.main(prog_name="kins", standalone_mode=False)
    except click.UsageError as error:
        if asked_for_json(sys.argv[1:]):
            command = error.ctx.command_path if error.ctx else "kins"
            report(UsageError(error.format_message(), code="usage", hint=f"{command} --help"))
        else:
            error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("kins: interrupted", err=True)
        sys.exit(130)
    except BrokenPipeError:
        # Whoever read our output has gone, as `head` does; Python must not try to write the rest at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except OSError as error:
        # A full disk, a directory that may not be written: a fact of the system, no defect to show a traceback of.
        report(system_error(error))
        sys.exit(1)
    except KinsError as error:
        report(error)
        sys.exit(2 if isinstance(error, UsageError) else 1)
