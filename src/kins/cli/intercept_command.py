"""`kins intercept`."""

from __future__ import annotations

import os
import shlex
import signal
from pathlib import Path
from typing import NoReturn

import click
from click.shell_completion import CompletionItem

from kins.sys.interception import BACKENDS, PROGRAM, Backend

BEGINNINGS = (
    "redirect:",
    "overlay:",
    "statfs:",
    "statfs:mount:",
    "statfs:type:",
    "uname:",
    "address:",
    "own:",
    "source:",
    "one-id",
)


def _complete_rule(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    from kins.intercept.filesystems import TYPES

    left, equals, _type = incomplete.partition("=")
    whole = [f"{left}={name}" for name in TYPES] if equals and left.startswith("statfs:") else BEGINNINGS
    return [text for text in whole if text.startswith(incomplete)]


def _complete_file(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(incomplete, type="file")]


@click.command(
    "intercept",
    # What follows the command's name is the command's, also where it looks like an option of ours.
    context_settings={"allow_interspersed_args": False},
    epilog="""\b
Examples:
  kins intercept --rule redirect:/etc/hostname=/tmp/name -- cat /etc/hostname
  kins intercept --rule overlay:/proc/sys=/tmp/prepared -- sysctl kernel.panic
  kins intercept --rule statfs:/var/lib=ext4 -- stat -f /var/lib
  kins intercept --rule statfs:type:9p=ext4 --rule uname:6.1.0 -- ./server --port 8080
  kins intercept --rule address:10.42.0.0/16=127.42.0.0/16 -- curl http://10.42.0.7:8080
  kins intercept --rule one-id -- tar -xf image-layer.tar
  kins intercept --rules rules.yaml --statistics counts.json -- make
  kins intercept --rules rules.yaml --dry-run -- make
""",
)
@click.option(
    "--rule",
    "texts",
    multiple=True,
    metavar="RULE",
    shell_complete=_complete_rule,
    help="redirect:FROM=TO, overlay:FROM=TO (only what exists below TO), statfs:PATH=TYPE, statfs:mount:PATH=TYPE, "
    "statfs:type:TYPE=TYPE, uname:RELEASE, address:RANGE=RANGE, own:ADDRESS, source:ADDRESS or one-id. TYPE is a name "
    "like ext4 or a number, RANGE is one of IPv4 like 10.42.0.0/16.",
)
@click.option(
    "--rules",
    "file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A YAML or JSON file with rules, which come after those of --rule.",
)
@click.option(
    "--backend",
    type=click.Choice(BACKENDS),
    default="auto",
    show_default=True,
    help="How the kernel is asked; by default what works here.",
)
@click.option("--dry-run", is_flag=True, help="Print what would be run as a shell command, rules included.")
@click.option("--statistics", metavar="FILE", help="Count there, as JSON, which calls were met by which rule.")
@click.argument(
    "arguments",
    nargs=-1,
    required=True,
    type=click.UNPROCESSED,
    metavar="[--] COMMAND...",
    shell_complete=_complete_file,
)
def command(
    texts: tuple[str, ...],
    file: Path | None,
    backend: Backend,
    dry_run: bool,
    statistics: str | None,
    arguments: tuple[str, ...],
) -> None:
    """Run COMMAND and all that it starts with some system calls answered otherwise.

    The first rule that matches a call decides. Only calls that some rule is about are stopped; all others go straight
    to the kernel. Rules about files end where a container begins: a process with another root directory gets none of
    them.

    The exit status is the command's: 127 when it is not found, 126 when it cannot be executed.
    """
    from kins.intercept import check_support, encode, parse, read

    rules = (*map(parse, texts), *(read(file) if file is not None else ()))
    if not rules:
        raise click.UsageError("give at least one rule, with --rule or --rules")
    content = encode(rules)
    if dry_run:
        click.echo(_script(content, arguments, backend, statistics), nl=False)
        return
    check_support(backend)
    _execute(content, arguments, backend, statistics)


def _script(content: bytes, arguments: tuple[str, ...], backend: Backend, statistics: str | None) -> str:
    """The command in a form that a shell takes, with the rules as a here-document."""
    import msgspec

    from kins.intercept import command_line

    line = shlex.join(command_line(arguments, "/dev/fd/3", backend=backend, statistics=statistics))
    return f"{line} 3<<'RULES'\n{msgspec.json.format(content, indent=2).decode()}\nRULES\n"


def _execute(content: bytes, arguments: tuple[str, ...], backend: Backend, statistics: str | None) -> NoReturn:
    """Become the tracer: signals, terminal and exit status are its own matter from here on."""
    from kins.intercept import command_line, hold_in_memory

    rules_file = f"/proc/self/fd/{hold_in_memory(content)}"
    # Python ignores these two, and what is ignored stays so across exec: `COMMAND | head` would not end.
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    os.execv(PROGRAM, command_line(arguments, rules_file, backend=backend, statistics=statistics))
