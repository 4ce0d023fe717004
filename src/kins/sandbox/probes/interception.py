"""Whether system calls can be answered by a tracer, and what filters of system calls can do."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from kins.sandbox.probes.table import Several, Values
from kins.sys import interception as tracing
from kins.sys import seccomp as filters

FACTS = {"ptrace": "ptrace", "seccomp_trace": "seccomp_trace", "notify": "seccomp_notify"}


def interception(_: Path) -> dict[str, Any]:
    """What the tracer finds out by tracing: ptrace with seccomp, or seccomp's own notifications."""
    found = tracing.support()
    cause = tracing.refusal(found)
    answers = {fact: _answer(getattr(found, name), found.causes.get(name, "")) for name, fact in FACTS.items()}
    return {"interception": _answer(not cause, cause), **answers, "seccomp_order": found.order}


def no_interception(cause: str) -> dict[str, Any]:
    """What counts where the tracer gave no answer."""
    return {name: _answer(False, cause) for name in ("interception", *FACTS.values())}


def _answer(works: bool, cause: str) -> dict[str, Any]:
    return {"works": works, "cause": "" if works else cause or "it does not work"}


def seccomp(_: Path) -> dict[str, bool]:
    """Each action, tried on a call that no kernel has, in a child: runc's profiles need `errno`."""
    return {name: _acts(action, expected) for name, (action, expected) in filters.ACTIONS.items()}


def _acts(action: int, expected: int) -> bool:
    child = os.fork()
    if child == 0:
        try:
            os._exit(filters.outcome_of(action))
        except OSError:
            os._exit(filters.REFUSED)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == expected


SEVERAL: Several = {"tracing": (interception, no_interception)}
VALUES: Values = {"seccomp": (seccomp, {})}
