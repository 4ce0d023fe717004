"""Figures as tables."""

from __future__ import annotations

import statistics
from collections.abc import Sequence


def shown(value: float | None, digits: int = 2) -> str:
    """A figure for a table; a dash where there is none."""
    return "-" if value is None else f"{value:.{digits}f}"


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least that share of all values does not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, -(-int(share * 100) * len(ordered) // 100) - 1)]


def ratio(above: Sequence[float], below: Sequence[float]) -> float | None:
    """The ratio of two medians."""
    if not above or not below or statistics.median(below) == 0:
        return None
    return statistics.median(above) / statistics.median(below)


def minimum_and_median(values: Sequence[float], digits: int = 2) -> list[str]:
    """Two cells."""
    if not values:
        return ["-", "-"]
    return [shown(min(values), digits), shown(statistics.median(values), digits)]


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown, aligned so that it reads as plain text too: first column left, figures right."""
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        aligned = (
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return f"| {' | '.join(aligned)} |"

    rule = [("-" * (width + 1) + (":" if column else "-")) for column, width in enumerate(widths)]
    return "\n".join([line(header), f"|{'|'.join(rule)}|", *map(line, rows)])
