"""A worker that runs, watched as `kins soak` watches a cluster: readiness, pods that come and go, figures, error "
"lines."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass

from kins.components.versions import pause_image
from kins.experiments.model import Measurement
from kins.experiments.worker import NAME, Program, Worker
from kins.soak.churn import Churn, ChurnLoad
from kins.soak.document import spread_text
from kins.soak.figures import FigureLog
from kins.soak.loads import PodLoad
from kins.soak.loglines import LogWatch
from kins.soak.namespace import load_namespace
from kins.soak.readiness import Readiness, ReadyWatch
from kins.soak.report import amount, slope_text
from kins.soak.trend import Trend
from kins.soak.workers import Workers
from kins.supervise import usage
from kins.supervise.usage import ComponentUsage, Usage

CHURN = 2000.0
SAMPLE_SECONDS = 5.0
STOP_SECONDS = 2.0


@dataclass(frozen=True)
class Watched:
    """What was seen in `seconds`. `ended` names programs that died."""

    seconds: float
    node: Readiness
    churn: Churn
    trends: tuple[Trend, ...]
    memory_cache_errors: int
    memory_cache_example: str
    ended: tuple[str, ...]

    @property
    def minutes(self) -> float:
        """How long it was watched."""
        return self.seconds / 60

    @property
    def steady(self) -> bool:
        """Whether the node was Ready without a break, nothing died, and every pod started and went."""
        return self.node.ready_at_end and not (self.node.breaks or self.ended or self.churn.failures)


def watch(worker: Worker, minutes: float) -> Watched:
    """Watch a worker on which pods run. Ends early when a program of it dies."""
    programs = [program for program in (worker.containerd, worker.kubelet, *worker.helpers) if program is not None]
    with load_namespace(worker.client, True, worker.context.tell) as namespace:
        began = time.monotonic()

        def clock() -> float:
            return time.monotonic() - began

        ready = ReadyWatch(worker.client, NAME, clock)
        churn = ChurnLoad(worker.client, namespace, PodLoad(pause_image()), CHURN, clock)
        logs = LogWatch({program.name: program.log for program in programs})
        figures = FigureLog()
        watchers, makers = Workers(), Workers()
        try:
            watchers.start(ready.follow)
            watchers.start(churn.follow)
            makers.start(churn.make)
            while clock() < 60 * minutes and not any(program.ended for program in programs):
                figures.add(clock(), used_by(programs))
                watchers.check()
                makers.check()
                time.sleep(min(SAMPLE_SECONDS, max(60 * minutes - clock(), 0.1)))
            makers.stop(STOP_SECONDS)
            ended = tuple(program.name for program in programs if program.ended)
            if not ended:
                churn.drain(watchers)
        finally:
            makers.stop(0)
            watchers.stop(0)
        logs.look()
        figures.add(clock(), used_by(programs))
        return Watched(
            seconds=round(clock(), 1),
            node=ready.result(),
            churn=churn.result(),
            trends=figures.trends(),
            memory_cache_errors=logs.memory_cache_errors,
            memory_cache_example=logs.memory_cache_example,
            ended=ended,
        )


def used_by(programs: Sequence[Program]) -> Usage:
    """What programs use now, as a supervisor would say it; in the supervisor's place stands this process."""
    found = usage.processes()
    components = tuple(
        ComponentUsage(
            name=program.name,
            pid=program.process.pid,
            restarts=0,
            last_exit=None,
            programs=usage.by_program(found, program.process.pid),
        )
        for program in programs
    )
    itself = usage.alone(found, os.getpid())
    return Usage(components=components, supervisor=itself, processes=len(found), mounts=usage.mounts())


def measured(watched: Watched) -> list[Measurement]:
    """A watch as measurements."""
    node, churn = watched.node, watched.churn
    breaks = (
        "no break" if not node.breaks else f"{len(node.breaks)} breaks, the longest {node.longest_break_seconds:.1f} s"
    )
    found = [
        Measurement(name="watched", value=f"{watched.minutes:.1f} min"),
        Measurement(name="node Ready", value=f"{'at the end' if node.ready_at_end else 'not at the end'}, {breaks}"),
        Measurement(name="programs that died", value=", ".join(watched.ended) or "none"),
        Measurement(
            name="container starts",
            value=f"{churn.starts} ({churn.per_hour:.0f} an hour), {sum(each.count for each in churn.failures)} failed",
        ),
        Measurement(name="start of a pod", value=spread_text(churn.start)),
        Measurement(name="lines `unable to find data in memory cache`", value=cache_text(watched)),
    ]
    return [*found, *(_of_trend(each) for each in watched.trends if each.quantity in ("memory", "cpu"))]


def cache_text(watched: Watched) -> str:
    """How many lines of the research report's error there were, and the first of them."""
    example = f": {watched.memory_cache_example}" if watched.memory_cache_example else ""
    return f"{watched.memory_cache_errors}{example}"


def _of_trend(trend: Trend) -> Measurement:
    value = f"{amount(trend, trend.mean)} on average, {amount(trend, trend.maximum)} at most, {slope_text(trend)}"
    # In the place of a supervisor stands the process that measures.
    subject = "the experiment itself" if trend.subject == "supervisor" else trend.subject
    return Measurement(name=f"{trend.quantity} of {subject}", value=f"{value} ({trend.verdict})")
