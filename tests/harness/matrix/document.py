"""docs/reference/sandboxes.md: the matrix as a table, with what is missing where and why."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from pathlib import Path

from tests.harness import ROOT
from tests.harness.matrix.measuring import Measured, Missing
from tests.harness.matrix.rows import ROWS

DOCUMENT = ROOT / "docs/reference/sandboxes.md"
HEAD = """\
# Sandboxes

Made by `make matrix`, which starts each of these sandboxes, asks the doctor, brings a cluster up, compares it with what
the doctor said, does with it what its level promises, takes it down, and compares the sandbox with what it was before.
Do not edit.

- `node`: pods with logs and exec, one of which finds the other by the name of its Service.
- `fake`: a chart is installed with `helm install --wait` on simulated nodes.

Not in the table, because it cannot be made here: Alpine. The wheel is tagged for musl, its programs are static (a test
says so), and busybox's `mount`, which does not understand the kubelet, is replaced; but nobody has run it there. What
a sandbox of yours carries is told by [the doctor](../how-to/doctor.md), and `kins doctor --report` makes what a new row
begins with: its facts, without what is private.

"""
COLUMNS = ("sandbox", "level", "doctor", "`up`", "promise", "`down`", "kept away by")


def write(results: Mapping[str, Measured], file: Path = DOCUMENT) -> None:
    """The document, of the rows that were measured."""
    rows = [results[name] for name in ROWS if name in results]
    file.write_text(HEAD + measured_on() + table(rows) + "\n" + reasons(rows) + limits(rows))


def measured_on() -> str:
    """What the seconds depend on."""
    cores = len(os.sched_getaffinity(0))
    machine = f"a machine with {cores} cores and Linux {platform.release()}"
    return f"Seconds of the whole command, and of the doctor's probes, on {machine}.\n\n"


def table(rows: list[Measured]) -> str:
    """One line for each sandbox."""
    lines = [line(COLUMNS), line(["---"] * len(COLUMNS))]
    for each in rows:
        measured = (each.doctor_seconds, each.up_seconds, each.promise_seconds, each.down_seconds)
        seconds = [f"{value:.1f} s" for value in measured]
        facts = dict.fromkeys(f"`{missing.fact}`" for missing in each.missing)
        lines.append(line([ROWS[each.row].sandbox, each.level, *seconds, ", ".join(facts) or "nothing"]))
    return "".join(lines)


def line(cells: list[str] | tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |\n"


def reasons(rows: list[Measured]) -> str:
    """Each fact that keeps a level away, with the kernel's words, and what would change it."""
    found: dict[Missing, list[str]] = {}
    for each in rows:
        for missing in each.missing:
            found.setdefault(missing, []).append(ROWS[each.row].sandbox)
    if not found:
        return ""
    parts = ["## Why not more\n"]
    for missing, sandboxes in found.items():
        parts.append(
            f"\n**{missing.cause}**: {missing.consequence}. {sentence(missing.hint)}\n\n"
            + "".join(f"- {sandbox}\n" for sandbox in sandboxes)
        )
    return "".join(parts) + "\n"


def limits(rows: list[Measured]) -> str:
    """What the nodes do not do, and where."""
    found: dict[str, list[str]] = {}
    for each in rows:
        for limit in each.limits:
            found.setdefault(limit, []).append(ROWS[each.row].sandbox)
    if not found:
        return ""
    parts = ["## What these nodes do not do\n"]
    for limit, sandboxes in found.items():
        where = "everywhere" if len(sandboxes) == sum(bool(each.limits) for each in rows) else "; ".join(sandboxes)
        parts.append(f"\n- {limit}: {where}.")
    return "".join(parts) + "\n"


def sentence(hint: str) -> str:
    """A hint as its own sentence."""
    return f"{hint[0].upper()}{hint[1:]}."
