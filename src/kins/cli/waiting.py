"""How long a command that brings a cluster up waits for it."""

from __future__ import annotations

import re

import click

UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}


def parse_duration(_: click.Context, __: click.Parameter, text: str) -> float:
    """`90`, `90s`, `2m` or `1m30s` in seconds, as kubectl's and kind's flags take it."""
    parts = re.findall(r"(\d+(?:\.\d+)?)([smh]?)", text)
    seconds = sum(float(number) * UNITS[unit] for number, unit in parts)
    if "".join(number + unit for number, unit in parts) != text or seconds <= 0:
        raise click.BadParameter(f"{text!r} is no duration; write it like 90s or 2m")
    return seconds


timeout_option = click.option(
    "--timeout",
    default="2m",
    show_default=True,
    metavar="DURATION",
    callback=parse_duration,
    help="Give up after this time.",
)
wait_option = click.option(
    "--wait/--no-wait", default=True, show_default=True, help="Return when the cluster is ready, or at once."
)
