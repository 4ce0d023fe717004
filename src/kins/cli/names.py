"""The NAME argument that most commands take."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

Function = TypeVar("Function", bound=Callable[..., Any])


def _complete(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    from kins import Cluster

    return [name for name in Cluster.names() if name.startswith(incomplete)]


def name_argument(function: Function) -> Function:
    """`[NAME]`, `default` when left out."""
    return click.argument("name", default="default", shell_complete=_complete)(function)
