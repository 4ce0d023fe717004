"""What each part of a cluster uses over time, as the supervisor measures it."""

from __future__ import annotations

from collections import defaultdict

import msgspec

from kins.soak.trend import Point, Quantity, Trend, trend
from kins.supervise.usage import ComponentUsage, Figures, Usage

# A tracer is a part of its own; what else is in a component's group are short-lived programs that it calls.
TRACERS = ("kins-intercept",)
SUPERVISOR = "supervisor"
NODE = "processes and mounts"


class Restart(msgspec.Struct, frozen=True, kw_only=True):
    """How often a component was started again during the watch, and how it ended the last time."""

    component: str
    count: int
    last_exit: str | None


class FigureLog:
    """Collects samples; `add` in the order of time."""

    def __init__(self) -> None:
        self.points: dict[tuple[str, Quantity], list[Point]] = defaultdict(list)
        self._cpu: dict[str, Point] = {}
        self._restarts_before: dict[str, int] = {}
        self._latest: dict[str, ComponentUsage] = {}

    def add(self, at: float, usage: Usage) -> None:
        """A sample, taken `at` seconds after the start."""
        self._add_part(at, SUPERVISOR, usage.supervisor)
        for component in usage.components:
            self._restarts_before.setdefault(component.name, component.restarts)
            self._latest[component.name] = component
            for part, figures in parts(component).items():
                self._add_part(at, part, figures)
        self.points[NODE, "processes"].append((at, usage.processes))
        self.points[NODE, "mounts"].append((at, usage.mounts))

    def _add_part(self, at: float, part: str, figures: Figures) -> None:
        self.points[part, "memory"].append((at, figures.memory_bytes))
        self.points[part, "descriptors"].append((at, figures.descriptors))
        before = self._cpu.get(part)
        self._cpu[part] = (at, figures.cpu_seconds)
        # After a restart the seconds begin anew, and the interval in which that was says nothing.
        if before is not None and at > before[0] and figures.cpu_seconds >= before[1]:
            self.points[part, "cpu"].append((at, (figures.cpu_seconds - before[1]) / (at - before[0])))

    def restarts(self) -> tuple[Restart, ...]:
        """The components that were started again."""
        return tuple(
            Restart(component=name, count=latest.restarts - self._restarts_before[name], last_exit=latest.last_exit)
            for name, latest in self._latest.items()
            if latest.restarts > self._restarts_before[name]
        )

    def trends(self) -> tuple[Trend, ...]:
        """One for each figure of each part."""
        return tuple(trend(subject, quantity, points) for (subject, quantity), points in self.points.items())


def parts(component: ComponentUsage) -> dict[str, Figures]:
    """The component's figures; a tracer's stand beside those of all else in its process group."""
    found: dict[str, Figures] = {}
    for program, figures in component.programs.items():
        part = f"{component.name} ({program})" if program in TRACERS else component.name
        found[part] = _sum(found[part], figures) if part in found else figures
    return found


def _sum(one: Figures, other: Figures) -> Figures:
    pairs = zip(msgspec.structs.astuple(one), msgspec.structs.astuple(other), strict=True)
    return Figures(**dict(zip(Figures.__struct_fields__, (mine + its for mine, its in pairs), strict=True)))
