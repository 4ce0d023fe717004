"""How results, errors and progress are shown: text for people, one JSON document for programs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, TypeVar

import click
import msgspec

from kins.errors import KinsError

ENVELOPE_VERSION = 1
Function = TypeVar("Function", bound=Callable[..., Any])


def output_option(function: Function) -> Function:
    """`-o/--output text|json`."""
    option = click.option(
        "-o",
        "--output",
        type=click.Choice(["text", "json"]),
        default="text",
        show_default=True,
        help="Text for people, or one JSON document.",
        callback=_remember,
    )
    return option(function)


def _remember(context: click.Context, _: click.Parameter, value: str) -> str:
    # An error ends the command's context before it is reported.
    _FORMAT["format"], _FORMAT["command"] = value, context.command_path.partition(" ")[2]
    return value


_FORMAT = {"format": "text", "command": ""}


def asked_for_json(arguments: Sequence[str]) -> bool:
    """Whether a command line that cannot be parsed asks for JSON; from here on it counts as asked for."""
    pairs = {f"{option} {value}" for option, value in pairwise(arguments)}
    if pairs & {"-o json", "--output json"} or set(arguments) & {"-ojson", "--output=json"}:
        _FORMAT["format"], _FORMAT["command"] = "json", next((word for word in arguments if word[:1] != "-"), "")
    return is_json()


def is_json() -> bool:
    """Whether the command was asked for JSON."""
    return _FORMAT["format"] == "json"


def show(result: Any, text: Callable[[], str]) -> None:
    """A command's result: the JSON envelope, or what `text` makes of it."""
    if is_json():
        _write_json({"version": ENVELOPE_VERSION, "command": _FORMAT["command"], "ok": True, "result": result})
    elif shown := text():
        click.echo(shown)


def show_data(result: Any) -> None:
    """A result that is a document of its own: JSON without the envelope, whatever the format."""
    _write_json(result)


def report(error: KinsError) -> None:
    """A failure: in the JSON envelope on stdout when that was asked for, else on stderr with its hint."""
    if is_json():
        described = {"code": error.code, "message": error.message, "hint": error.hint}
        _write_json({"version": ENVELOPE_VERSION, "command": _FORMAT["command"], "ok": False, "error": described})
        return
    click.echo(f"error: {error.message}", err=True)
    if error.hint:
        click.echo(f"hint: {error.hint}", err=True)


def _write_json(document: Any) -> None:
    click.echo(msgspec.json.format(msgspec.json.encode(document), indent=2))


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as kubectl prints them."""
    lines = [header, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    return "\n".join(
        "   ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def talk(message: str) -> None:
    """A line for people, away from the data."""
    print(message, file=sys.stderr, flush=True)
