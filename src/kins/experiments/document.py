"""Results as documents."""

from __future__ import annotations

from collections.abc import Sequence

from kins.experiments.model import ExperimentResult
from kins.soak.document import sections, table
from kins.soak.report import Surroundings

WORDS = {
    "confirmed": "confirmed",
    "refuted": "refuted",
    "failed": "no answer",
    "not-run": "not run",
}


def where(surroundings: Surroundings) -> str:
    """A place in some words."""
    memory = surroundings.memory_bytes / 2**30
    sandbox = "gVisor" if surroundings.sandbox == "gVisor" else "no sandbox that is known"
    return (
        f"{sandbox}, root on {surroundings.root}, {surroundings.cores} cores, {memory:.0f} GiB ({surroundings.kernel})"
    )


def markdown(result: ExperimentResult, command: str, plots: Sequence[str] = ()) -> str:
    """The whole report of one run."""
    parts = [
        f"# {result.number} {result.title}: {WORDS[result.verdict]}",
        result.conclusion,
        f"Made by `{command}` at {result.began}, in {result.seconds:.0f} s: {where(result.surroundings)}.",
        "## Hypothesis",
        result.hypothesis,
        "## Method",
        result.method,
        "## What the research report found",
        result.reported,
    ]
    if result.measurements:
        rows = ((each.name, each.value) for each in result.measurements)
        parts += ["## Measured here", table(("what", "value"), rows)]
    for excerpt in result.excerpts:
        parts += [f"### {excerpt.source}", "```text\n" + "\n".join(excerpt.lines) + "\n```"]
    if result.soak is not None:
        parts += ["## The watch", *(each.replace("## ", "### ", 1) for each in sections(result.soak, plots))]
    parts += ["## Versions", table(("software", "version"), result.versions.items())]
    return "\n\n".join(parts) + "\n"


def summary(results: Sequence[ExperimentResult]) -> str:
    """One line per result, with what it came to below."""
    lines = []
    for result in results:
        lines += [f"{result.number} {result.title}: {WORDS[result.verdict]} ({result.seconds:.0f} s)"]
        lines += [f"   {result.conclusion}"]
    return "\n".join(lines)
