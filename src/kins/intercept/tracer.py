"""The tracer's command line, and whether it can work here."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from kins.errors import KinsError
from kins.sys import interception
from kins.sys.interception import PROGRAM, Backend


def command_line(
    command: Sequence[str],
    rules_file: str,
    *,
    backend: Backend = "auto",
    statistics: str | None = None,
    program: Path = PROGRAM,
) -> list[str]:
    """The argv that runs `command` under the rules of a file. What the command is and does passes through."""
    counting = ["--statistics", statistics] if statistics is not None else []
    return [str(program), "--backend", backend, "--rules", rules_file, *counting, "--", *command]


def hold_in_memory(content: bytes) -> int:
    """A descriptor of a file that exists in memory only, to be inherited by a program as /proc/self/fd/N.

    Nothing is left of it when the last process that has it open ends, in whatever way.
    """
    descriptor = os.memfd_create("kins-intercept-rules", 0)
    with open(descriptor, "wb", closefd=False) as file:
        file.write(content)
    return descriptor


def check_support(backend: Backend = "auto") -> None:
    """Raises KinsError `interception-unavailable` with the kernel's word where nothing can be intercepted."""
    try:
        found = interception.support()
    except FileNotFoundError as error:
        raise KinsError(f"{PROGRAM} is not there", code="not-built", hint="pip install .") from error
    except OSError as error:
        raise _unavailable(str(error), f"{PROGRAM} probe") from error
    if cause := interception.refusal(found, backend):
        others = [name for name in interception.NEEDS if not interception.refusal(found, name)]
        raise _unavailable(cause, f"kins intercept --backend {others[0]}" if others else f"{PROGRAM} probe")


def _unavailable(cause: str, hint: str) -> KinsError:
    message = f"this sandbox does not let system calls be intercepted: {cause}"
    return KinsError(message, code="interception-unavailable", hint=hint)
