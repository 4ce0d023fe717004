"""`kins doctor`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from kins.cli.output import output_option, show, show_data, table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kins.cluster.diagnosis import Diagnosis
    from kins.sandbox.doctor import Finding, KnownBlocker

LONGEST = 90
# The best one first.
LEVELS = ("node", "fake", "control-plane")


@click.command(
    "doctor",
    epilog="""\b
Examples:
  kins doctor
  kins doctor --output json
  kins doctor --report > my-sandbox.json
""",
)
@click.option(
    "--report",
    "wants_report",
    is_flag=True,
    help="Only the facts, as JSON without names, addresses and paths of yours.",
)
@output_option
def command(wants_report: bool, **_: Any) -> None:
    """Explain what this sandbox can do, which level `kins up` takes here, and what would change it. Changes nothing."""
    from kins.cluster.diagnosis import diagnose, report

    diagnosis = diagnose()
    if wants_report:
        show_data(report(diagnosis))
        return
    show(diagnosis, lambda: "\n".join(_text(diagnosis)))


def _text(diagnosis: Diagnosis) -> Iterator[str]:
    yield f"Level {diagnosis.level}, by {len(diagnosis.findings)} facts asked in {diagnosis.seconds:.1f} s"
    if diagnosis.running:
        yield "A cluster with a node runs here: its own addresses are not counted"
    for missing in diagnosis.missing:
        yield f"  {missing.cause}: {missing.consequence}"
        yield f"    hint: {missing.hint}"
    for limit in diagnosis.limits:
        yield f"  limit: {limit}"
    for state, title in (("missing", "MISSING"), ("cured", "CURED")):
        yield from _explained(title, [each for each in diagnosis.findings if each.state == state])
    works = [each for each in diagnosis.findings if each.state == "works"]
    yield ""
    yield table(("WORKS", "FOUND"), [(each.fact, _shortened(each.found)) for each in works])
    yield from _alternatives(diagnosis)
    yield from _blockers(diagnosis.blockers)


def _explained(title: str, findings: list[Finding]) -> Iterator[str]:
    if not findings:
        return
    yield ""
    yield title
    for each in findings:
        yield f"  {each.fact}: {_shortened(each.found)}"
        yield f"    why: {each.consequence}"
        if each.cure:
            yield f"    cure: {each.cure} (cost: {each.cost})"
        if each.hint:
            yield f"    hint: {each.hint}"


def _alternatives(diagnosis: Diagnosis) -> Iterator[str]:
    yield ""
    yield "ONE THING AWAY"
    worse: dict[str, list[str]] = {}
    for each in diagnosis.alternatives:
        if LEVELS.index(each.level) > LEVELS.index(diagnosis.level):
            worse.setdefault(each.level, []).extend(each.facts)
    for level, facts in worse.items():
        yield f"  level {level} without any one of: {', '.join(facts)}"
    for each in diagnosis.alternatives:
        if each.level not in worse:
            differs = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in each.differences.items())
            level = f"level {each.level}" if each.level != diagnosis.level else ""
            yield f"  {each.change}: {level or differs}"
    if not diagnosis.alternatives:
        yield "  nothing: no single fact changes what is decided"


def _blockers(blockers: tuple[KnownBlocker, ...]) -> Iterator[str]:
    yield ""
    yield "WHAT STOPPED OTHERS"
    for each in blockers:
        yield f"  {each.name}"
        here = "its cause is here" if each.here else "its cause is not here"
        yield f"    {here} ({', '.join(each.facts)}): {each.cause}"
        yield f"    kins: {each.answer}"


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
