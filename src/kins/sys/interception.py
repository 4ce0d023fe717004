"""What this kernel offers to intercept system calls with: ptrace(2), seccomp(2), seccomp_unotify(2).

The program `kins-intercept` finds it out by doing each thing; nothing here looks at a version.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Literal, get_args

import msgspec

PROGRAM = Path(__file__).resolve().parent.parent / "_bin" / "kins-intercept"
Backend = Literal["auto", "ptrace", "notify"]
BACKENDS: tuple[Backend, ...] = get_args(Backend)

# For each way to intercept, the answers that it needs.
NEEDS: dict[Backend, tuple[str, ...]] = {
    "ptrace": ("architecture", "ptrace", "seccomp_trace"),
    # Without a stop at any call, ptrace follows the tree there, so that it ends with the tracer.
    "notify": ("architecture", "notify", "notify_add_descriptor", "ptrace"),
}
# Some refusals of sandboxes come as a call that never returns.
ANSWER_SECONDS = 2.5


class Support(msgspec.Struct, frozen=True, kw_only=True):
    """The program's answers. `order` says which of seccomp and the stop at a call's entry comes first here; `causes`
    maps each answer that is no to the kernel's word."""

    architecture: bool
    ptrace: bool
    seccomp_trace: bool
    notify: bool
    notify_add_descriptor: bool
    order: Literal["seccomp-first", "enter-first", ""] = ""
    causes: dict[str, str] = {}


def support(program: Path = PROGRAM) -> Support:
    """Ask the kernel, in some hundredths of a second. Raises OSError: FileNotFoundError without the program."""
    try:
        done = subprocess.run([program, "probe"], capture_output=True, text=True, check=False, timeout=ANSWER_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise OSError(f"{program.name} probe: no answer within {ANSWER_SECONDS:g} s") from error
    if done.returncode != 0:
        raise OSError(f"{program.name} probe: exit {done.returncode}: {done.stderr.strip()}")
    try:
        return msgspec.json.decode(done.stdout, type=Support)
    except msgspec.DecodeError as error:
        raise OSError(f"{program.name} probe: {error}: {done.stdout.strip()!r}") from error


def refusal(found: Support, backend: Backend = "auto") -> str:
    """Why calls cannot be intercepted here, in the kernel's own words; empty where they can."""
    reasons = [_reason(found, name) for name in (NEEDS if backend == "auto" else (backend,))]
    return "" if "" in reasons else "; ".join(dict.fromkeys(reasons))


def _reason(found: Support, backend: Backend) -> str:
    for answer in NEEDS[backend]:
        if not getattr(found, answer):
            return f"{answer}: {found.causes.get(answer, 'it does not work')}"
    return ""
