"""A report as a document, and as lines for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kins.soak.latency import Spread
from kins.soak.loglines import MEMORY_CACHE
from kins.soak.report import SoakReport, amount, slope_text
from kins.soak.trend import Trend

Rows = Iterable[Sequence[str]]


def summary(report: SoakReport) -> str:
    """What it comes to, in some lines."""
    verdict = "healthy" if report.healthy else "not healthy"
    cut = ", interrupted" if report.interrupted else ""
    lines = [f"Cluster {report.cluster!r} was {verdict} for {report.seconds / 60:.1f} min{cut}, level {report.level}"]
    lines += [f"Cause    {cause.code}: {cause.message}" for cause in report.causes]
    lines += [f"{name:<8} {text}" for name, text in facts(report)]
    growing = [each for each in report.trends if each.verdict == "growing"]
    lines += [f"Growing  {each.subject} {each.quantity}: {slope_text(each)}" for each in growing]
    return "\n".join(lines)


def facts(report: SoakReport) -> list[tuple[str, str]]:
    """The figures that stand for the whole, by a short name."""
    found = []
    if report.node is not None:
        state = "Ready" if report.node.ready_at_end else "not Ready"
        number, longest = len(report.node.breaks), report.node.longest_break_seconds
        breaks = "without a break" if not number else f"{number} breaks, the longest {longest:.1f} s"
        found.append(("Node", f"{state}, {breaks}"))
    found.append(("Restarts", ", ".join(f"{each.component} {each.count}" for each in report.restarts) or "none"))
    found.append(("Errors", f"{sum(each.count for each in report.errors)} lines, {len(report.errors)} patterns"))
    found.append(("Cache", f"{report.memory_cache_errors} lines with {MEMORY_CACHE!r}"))
    if report.churn is not None:
        failures = sum(each.count for each in report.churn.failures)
        rate = f"{report.churn.per_hour:.0f} an hour of {report.churn.wanted_per_hour:.0f}"
        found.append(("Churn", f"{report.churn.starts} starts in {report.churn.kind} ({rate}), {failures} failed"))
        found.append(("Start", spread_text(report.churn.start)))
    found.append(
        ("API", f"{report.api.requests} requests, {report.api.failures} failed, {spread_text(report.api.duration)}")
    )
    return found


def spread_text(spread: Spread) -> str:
    """Durations for people."""
    if spread.p50_seconds is None or spread.p99_seconds is None or spread.longest_seconds is None:
        return "nothing measured"
    return f"p50 {_time(spread.p50_seconds)}, p99 {_time(spread.p99_seconds)}, longest {_time(spread.longest_seconds)}"


def _time(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"


def markdown(report: SoakReport, command: str, plots: Sequence[str] = ()) -> str:
    """The whole report. `plots` are the names of files beside it."""
    verdict = "healthy" if report.healthy else "not healthy"
    around = report.surroundings
    where = f"{around.kernel}, sandbox: {around.sandbox}, root: {around.root}, {around.cores} cores"
    parts = [
        f"# Soak of cluster {report.cluster}: {verdict}",
        f"Made by `{command}` at {report.began}. {where}, {around.memory_bytes / 2**30:.1f} GiB; level {report.level}, "
        f"{report.seconds / 60:.1f} minutes{' (interrupted)' if report.interrupted else ''}.",
        *sections(report, plots),
        "## Versions",
        table(("software", "version"), report.versions.items()),
    ]
    return "\n\n".join(parts) + "\n"


def sections(report: SoakReport, plots: Sequence[str]) -> list[str]:
    """What was found, part by part."""
    parts = [table(("what", "found"), facts(report))]
    if report.causes:
        parts += ["## Why it is not healthy", table(("code", "what"), ((c.code, c.message) for c in report.causes))]
    if report.node is not None and report.node.breaks:
        rows = ((f"{b.at_seconds:.1f}", f"{b.seconds:.1f}", b.status, b.reason) for b in report.node.breaks)
        parts += ["## Not Ready", table(("at (s)", "for (s)", "condition", "reason"), rows)]
    parts += ["## Memory, CPU, descriptors", METHOD, trend_table(report.trends)]
    parts += [f"![{name}]({name})" for name in plots]
    parts += ["## Error lines", error_table(report)]
    return parts


METHOD = """\
The slope is that of the least-squares line after a warm-up of a quarter of the time. `growing` means that it, and that
of the second half alone, adds more in an hour than 10 % of the mean and 16 MiB (memory), 20 % and 0.05 cores (CPU), or
10 % and 16 (numbers). Less than 15 minutes after the warm-up are `too-short` for a verdict."""


def trend_table(trends: Sequence[Trend]) -> str:
    """Every figure over time."""
    rows = (
        (
            each.subject,
            each.quantity,
            amount(each, each.first),
            amount(each, each.last),
            amount(each, each.maximum),
            slope_text(each),
            each.verdict,
        )
        for each in sorted(trends, key=lambda each: (each.quantity, each.subject))
    )
    return table(("part", "figure", "first", "last", "highest", "slope", "verdict"), rows)


def error_table(report: SoakReport) -> str:
    """Error lines by pattern; the one of the research report always has its line."""
    rows = [("all", f"`{MEMORY_CACHE}`", str(report.memory_cache_errors))]
    rows += [(each.component, f"`{each.pattern}`", str(each.count)) for each in report.errors]
    return table(("component", "pattern", "lines"), rows)


def table(header: Sequence[str], rows: Rows) -> str:
    """A table of Markdown."""
    lines = [_row(header), "|" + "---|" * len(header)]
    return "\n".join([*lines, *(_row(row) for row in rows)])


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(_cell(text) for text in cells) + " |"


def _cell(text: str) -> str:
    # A backtick within code would end it.
    inner = text[1:-1].replace("`", "'") if text.startswith("`") else text
    return (f"`{inner}`" if text.startswith("`") else inner).replace("|", "\\|").replace("\n", " ")
