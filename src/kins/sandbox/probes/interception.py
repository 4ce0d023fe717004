"""Whether system calls can be answered by a tracer."""

from __future__ import annotations

from pathlib import Path

from kins.sandbox.probes.table import Answers
from kins.sys import interception as tracing


def interception(_: Path) -> None:
    """What the tracer finds out by tracing: ptrace with seccomp, or seccomp's own notifications."""
    if cause := tracing.refusal(tracing.support()):
        raise OSError(cause)


ANSWERS: Answers = {"interception": interception}
