"""Plots as SVG files, drawn by leather (the extra `soak`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from kins.errors import KinsError
from kins.soak.trend import Point, Quantity
from kins.soak.watch import Observed

SIZE = (900, 420)
# leather itself has five colours.
COLORS = (
    "#1f77b4",
    "#d62728",
    "#2ca02c",
    "#9467bd",
    "#ff7f0e",
    "#8c564b",
    "#17becf",
    "#e377c2",
    "#7f7f7f",
    "#bcbd22",
)
# Points of a line: more are averaged, so that an hour of samples stays readable and small.
LINE_POINTS = 180
MEBIBYTE = 2**20


def require_plots() -> Any:
    """leather, which has no types. Raises KinsError `soak-extra-missing` where it is not installed."""
    try:
        return import_module("leather")
    except ImportError as error:
        raise KinsError(
            "plots are drawn by leather, which is not installed",
            code="soak-extra-missing",
            hint="pip install 'kins[soak]'",
        ) from error


def write_plots(observed: Observed, directory: Path) -> list[str]:
    """Write every plot that there are points for; returns the files' names."""
    figures = observed.figures.points
    charts: dict[str, tuple[str, Mapping[str, Sequence[Point]]]] = {
        "memory.svg": ("Resident memory (MiB)", _of(figures, "memory", MEBIBYTE)),
        "cpu.svg": ("CPU (cores)", _of(figures, "cpu")),
        "descriptors.svg": ("Open descriptors", _of(figures, "descriptors")),
        "api.svg": ("GET /readyz (ms)", {"API server": [(at, 1000 * value) for at, value in observed.latency]}),
        "starts.svg": ("From creation to started (s)", {"units": observed.starts}),
    }
    written = []
    for name, (title, lines) in charts.items():
        drawable = {label: points for label, points in lines.items() if len(points) > 1}
        if drawable:
            _draw(title, drawable, directory / name)
            written.append(name)
    return written


def _of(
    points: Mapping[tuple[str, Quantity], Sequence[Point]], quantity: Quantity, unit: float = 1.0
) -> dict[str, list[Point]]:
    return {
        subject: [(at, value / unit) for at, value in line]
        for (subject, each), line in points.items()
        if each == quantity
    }


def _draw(title: str, lines: Mapping[str, Sequence[Point]], target: Path) -> None:
    chart = require_plots().Chart(title)
    for number, (label, points) in enumerate(lines.items()):
        minutes = [(at / 60, value) for at, value in averaged(points)]
        chart.add_line(minutes, name=label, stroke_color=COLORS[number % len(COLORS)], width=1.5)
    highest = max(value for points in lines.values() for _, value in points)
    chart.add_y_scale(0, highest * 1.05 or 1)
    chart.add_x_axis(name="minutes")
    chart.to_svg(str(target), *SIZE)


def averaged(points: Sequence[Point], most: int = LINE_POINTS) -> list[Point]:
    """At most that many points, each the mean of neighbours."""
    step = -(-len(points) // most)
    groups = [points[start : start + step] for start in range(0, len(points), step)]
    return [
        (sum(at for at, _ in group) / len(group), sum(value for _, value in group) / len(group)) for group in groups
    ]
