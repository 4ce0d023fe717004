"""Whether a figure grows: least squares over what was measured after a warm-up."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from statistics import fmean
from typing import Literal

import msgspec

Verdict = Literal["flat", "growing", "too-short"]
Quantity = Literal["memory", "cpu", "descriptors", "processes", "mounts"]
# (seconds since the start, value)
Point = tuple[float, float]

# Caches fill and connections are made after a start: the first quarter, and at least a minute, is not judged.
WARM_UP_SHARE = 0.25
WARM_UP_SECONDS = 60.0
# Less than this after the warm-up says nothing about what grows by the hour.
JUDGED_SECONDS = 15 * 60.0
HOUR = 3600.0
# What may be added in an hour without being called growth: a share of the mean, and an absolute amount below which
# nothing matters. Bytes, cores, numbers.
TOLERANCES: dict[Quantity, tuple[float, float]] = {
    "memory": (0.10, 16 * 2**20),
    "cpu": (0.20, 0.05),
    "descriptors": (0.10, 16),
    "processes": (0.10, 16),
    "mounts": (0.10, 16),
}


class Trend(msgspec.Struct, frozen=True, kw_only=True):
    """A figure over time: bytes (memory), cores (cpu) or numbers. `slope_per_hour` is after the warm-up; None when
    there are less than two samples there."""

    subject: str
    quantity: Quantity
    samples: int
    first: float
    last: float
    minimum: float
    maximum: float
    mean: float
    slope_per_hour: float | None
    verdict: Verdict


def trend(subject: str, quantity: Quantity, points: Sequence[Point]) -> Trend:
    """What became of a figure. `points` are in the order of time, at least one."""
    values = [value for _, value in points]
    judged = after_warm_up(points)
    steepness = slope(judged)
    return Trend(
        subject=subject,
        quantity=quantity,
        samples=len(points),
        first=values[0],
        last=values[-1],
        minimum=min(values),
        maximum=max(values),
        mean=fmean(values),
        slope_per_hour=None if steepness is None else steepness * HOUR,
        verdict=verdict(judged, quantity),
    )


def after_warm_up(points: Sequence[Point]) -> Sequence[Point]:
    """The points that are judged."""
    begin, end = points[0][0], points[-1][0]
    warm = begin + max(WARM_UP_SECONDS, WARM_UP_SHARE * (end - begin))
    return points[len(list(takewhile(lambda point: point[0] < warm, points))) :]


def slope(points: Sequence[Point]) -> float | None:
    """The slope of the least-squares line, per second; None when the points have no two times."""
    if len(points) < 2:
        return None
    middle_time, middle_value = fmean(time for time, _ in points), fmean(value for _, value in points)
    spread = sum((time - middle_time) ** 2 for time, _ in points)
    if spread == 0:
        return None
    return sum((time - middle_time) * (value - middle_value) for time, value in points) / spread


def verdict(points: Sequence[Point], quantity: Quantity) -> Verdict:
    """`growing` when the line rises by more than the tolerance, and that of the second half still does.

    A cache that fills rises and then stays; a leak rises in the second half as in the first.
    """
    if len(points) < 2 or points[-1][0] - points[0][0] < JUDGED_SECONDS:
        return "too-short"
    share, amount = TOLERANCES[quantity]
    allowed = max(share * fmean(value for _, value in points), amount) / HOUR
    slopes = (slope(points), slope(points[len(points) // 2 :]))
    return "growing" if all(each is not None and each > allowed for each in slopes) else "flat"
