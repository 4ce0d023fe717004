"""Become a command in a mount namespace of its own, prepared by steps: `python -m kins.plan.launcher FILE COMMAND…`.

The steps are data in a JSON file, and only such whose effect ends with the namespace, so that there is nothing to undo.
The command keeps the process, its pid and its open files.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from kins.plan.steps import AnyStep
from kins.sys import namespaces


def python_module(name: str, *arguments: str) -> tuple[str, ...]:
    """The command line of a module of ours, whatever lies in the directory that it is run in."""
    return sys.executable, "-P", "-m", name, *arguments


def command(file: Path) -> tuple[str, ...]:
    """What to put before a command line, so that it runs after the steps in a file."""
    return python_module("kins.plan.launcher", str(file))


def text(steps: Sequence[AnyStep]) -> str:
    """The file that a launcher reads."""
    return msgspec.json.format(msgspec.json.encode(steps), indent=2).decode() + "\n"


def main(arguments: list[str]) -> None:
    """Does not return, unless the command cannot be run. Raises OSError."""
    file, *argv = arguments
    namespaces.unshare(namespaces.CLONE_NEWNS)
    for step in msgspec.json.decode(Path(file).read_bytes(), type=list[AnyStep]):
        prepared = step.prepare()
        if prepared is not None:
            prepared.execute()
    os.execv(argv[0], argv)


if __name__ == "__main__":
    main(sys.argv[1:])
