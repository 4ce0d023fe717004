"""What a watch found, and whether that is healthy."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from kins.soak.churn import Churn
from kins.soak.figures import Restart
from kins.soak.latency import Latency
from kins.soak.loglines import MEMORY_CACHE, ErrorLines
from kins.soak.readiness import Readiness
from kins.soak.trend import Trend

REPORT_VERSION = 1
# Below this share of the wanted rate the cluster did not keep up.
KEPT_UP = 0.9


class Cause(msgspec.Struct, frozen=True, kw_only=True):
    """Why a cluster is not called healthy; `code` is a stable word."""

    code: str
    message: str


class Surroundings(msgspec.Struct, frozen=True, kw_only=True):
    """Where it was: `kernel` as uname says it, `root` the type of the root file system."""

    kernel: str
    sandbox: str
    root: str
    cores: int
    memory_bytes: int


class SoakReport(msgspec.Struct, frozen=True, kw_only=True):
    """One watch. `began` is a time in UTC (ISO 8601), `seconds` how long it lasted; `node` is None without a node."""

    version: int = REPORT_VERSION
    cluster: str
    level: str
    began: str
    seconds: float
    interrupted: bool
    healthy: bool
    causes: tuple[Cause, ...]
    node: Readiness | None
    restarts: tuple[Restart, ...]
    memory_cache_errors: int
    errors: tuple[ErrorLines, ...]
    trends: tuple[Trend, ...]
    churn: Churn | None
    api: Latency
    surroundings: Surroundings
    versions: dict[str, str]


def causes(
    node: Readiness | None,
    restarts: tuple[Restart, ...],
    memory_cache_errors: int,
    trends: tuple[Trend, ...],
    churn: Churn | None,
    api: Latency,
    missed_samples: int,
) -> tuple[Cause, ...]:
    """Everything that keeps a cluster from being called healthy."""
    return (
        *_of_node(node),
        *(
            Cause(code="component-restarted", message=f"{each.component}: {each.count} ({each.last_exit})")
            for each in restarts
        ),
        *(
            [Cause(code="memory-cache-errors", message=f"{memory_cache_errors} lines with {MEMORY_CACHE!r}")]
            if memory_cache_errors
            else []
        ),
        *(
            Cause(code=f"{each.quantity}-growing", message=f"{each.subject}: {slope_text(each)}")
            for each in trends
            if each.verdict == "growing"
        ),
        *_of_churn(churn),
        *([Cause(code="api-failed", message=f"{api.failures} of {api.requests} requests")] if api.failures else []),
        *(
            [Cause(code="supervisor-away", message=f"it did not answer {missed_samples} times")]
            if missed_samples
            else []
        ),
    )


def _of_node(node: Readiness | None) -> Iterator[Cause]:
    if node is None:
        return
    if node.breaks:
        number, longest = len(node.breaks), node.longest_break_seconds
        yield Cause(code="node-not-ready", message=f"{node.node}: {number} times, up to {longest:.1f} s")
    elif not node.ready_at_end:
        yield Cause(code="node-not-ready", message=f"{node.node}: never seen Ready")


def _of_churn(churn: Churn | None) -> Iterator[Cause]:
    if churn is None:
        return
    for failure in churn.failures:
        yield Cause(code="churn-failed", message=f"{failure.count} {churn.kind}: {failure.what}")
    if not kept_up(churn):
        message = f"{churn.per_hour:.0f} starts an hour instead of {churn.wanted_per_hour:.0f}"
        yield Cause(code="churn-too-slow", message=message)


def kept_up(churn: Churn) -> bool:
    """Whether the cluster did as much as was asked for."""
    return churn.per_hour >= KEPT_UP * churn.wanted_per_hour


def slope_text(trend: Trend) -> str:
    """How a figure changes in an hour, with its unit."""
    if trend.slope_per_hour is None:
        return "-"
    return f"{amount(trend, trend.slope_per_hour, signed=True)}/h"


def amount(trend: Trend, value: float, *, signed: bool = False) -> str:
    """A value of a figure with its unit."""
    sign = "+" if signed else ""
    match trend.quantity:
        case "memory":
            return f"{value / 2**20:{sign}.1f} MiB"
        case "cpu":
            return f"{value:{sign}.3f} cores"
        case _:
            return f"{value:{sign}.1f}"
