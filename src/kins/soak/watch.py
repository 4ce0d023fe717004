"""One watch of a running cluster, from its start to its report."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from kins.cluster import store
from kins.cluster.api import ApiClient
from kins.cluster.cluster import Cluster
from kins.cluster.spec import Record
from kins.components import Layout
from kins.components.versions import pause_image, shipped_versions
from kins.errors import KinsError
from kins.soak.churn import ChurnLoad
from kins.soak.figures import FigureLog
from kins.soak.latency import LatencyWatch
from kins.soak.loads import DeploymentLoad, PodLoad
from kins.soak.loglines import LogWatch
from kins.soak.namespace import load_namespace
from kins.soak.readiness import ReadyWatch
from kins.soak.report import SoakReport, causes
from kins.soak.surroundings import surroundings
from kins.soak.trend import Point
from kins.soak.workers import Workers
from kins.supervise import control
from kins.supervise.usage import Usage

SAMPLE_SECONDS = 5.0
# How often something is said about what goes on.
TALK_SECONDS = 60.0
ANSWER_SECONDS = 10.0
JOIN_SECONDS = 2.0
# What each part uses is asked of the supervisor; an answer that does not come is one that it owes us at the next time.
SUPERVISOR_AWAY = ("supervisor-unreachable", "supervisor-silent")


class SoakSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What to watch: a cluster for some seconds, under `churn` starts of containers an hour (0: none)."""

    name: str = "default"
    seconds: float
    churn: float = 2000.0


@dataclass(frozen=True)
class Observed:
    """A report, and the points that plots are made of: starts and requests in seconds."""

    report: SoakReport
    figures: FigureLog
    latency: list[Point]
    starts: list[Point]


def soak(spec: SoakSpec, tell: Callable[[str], None]) -> Observed:
    """Watch a cluster that runs until the time is over or Ctrl-C. Raises KinsError when it does not run."""
    files = store.existing(spec.name)
    record = store.record(files)
    if record is None or store.supervisor(files) is None:
        raise KinsError(f"cluster {spec.name!r} is not running", code="not-running", hint=f"kins up {spec.name}")
    with _alone(files, spec.name):
        client = ApiClient(files, record.settings)
        with load_namespace(client, spec.churn > 0, tell) as namespace:
            return Watch(spec, files, record, namespace, tell).run()


@contextlib.contextmanager
def _alone(files: Layout, name: str) -> Iterator[None]:
    """Let nobody else put a load on the cluster: two would be in each other's figures."""
    descriptor = os.open(files.runtime, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise KinsError(
            f"another watch of cluster {name!r} is under way", code="soak-running", hint="wait for its end"
        ) from error
    try:
        yield
    finally:
        os.close(descriptor)


class Watch:
    """Everything that looks at one cluster, side by side."""

    def __init__(
        self, spec: SoakSpec, files: Layout, record: Record, namespace: str, tell: Callable[[str], None]
    ) -> None:
        self._spec = spec
        self._files = files
        self._record = record
        self._tell = tell
        self._began = time.monotonic()
        self._began_at = datetime.now(UTC)
        client = ApiClient(files, record.settings)
        has_node = record.decisions.level == "node"
        image = pause_image()
        self._figures = FigureLog()
        self._logs = LogWatch(Cluster(spec.name).logs())
        self._latency = LatencyWatch(client, self._clock)
        self._ready = ReadyWatch(client, record.settings.node_name, self._clock) if has_node else None
        load = PodLoad(image) if has_node else DeploymentLoad(image)
        self._churn = ChurnLoad(client, namespace, load, spec.churn, self._clock) if spec.churn > 0 else None
        self._missed_samples = 0

    def _clock(self) -> float:
        return time.monotonic() - self._began

    def run(self) -> Observed:
        """Watch until the time is over or Ctrl-C."""
        watchers, makers = Workers(), Workers()
        interrupted = False
        try:
            watchers.start(self._latency.follow)
            if self._ready is not None:
                watchers.start(self._ready.follow)
            if self._churn is not None:
                watchers.start(self._churn.follow)
                makers.start(self._churn.make)
            self._sample_until_end(watchers, makers)
            makers.stop(JOIN_SECONDS)
            if self._churn is not None:
                self._churn.drain(watchers)
        except KeyboardInterrupt:
            interrupted = True
        finally:
            makers.stop(0)
            watchers.stop(0)
        self._sample()
        return self._observed(interrupted)

    def _sample_until_end(self, *workers: Workers) -> None:
        next_talk = TALK_SECONDS
        while (left := self._spec.seconds - self._clock()) > 0:
            self._sample()
            for each in workers:
                each.check()
            if self._clock() >= next_talk:
                next_talk += TALK_SECONDS
                self._tell(self._line())
            workers[0].pause(min(SAMPLE_SECONDS, left))

    def _sample(self) -> None:
        self._logs.look()
        try:
            answer = control.ask_one(self._files.control_socket, "usage", ANSWER_SECONDS)
        except KinsError as error:
            if error.code not in SUPERVISOR_AWAY:
                raise
            self._missed_samples += 1
            return
        self._figures.add(self._clock(), msgspec.convert(answer, Usage))

    def _line(self) -> str:
        """How it is now, for people."""
        parts = [f"{self._clock() / 60:5.1f} min"]
        if self._ready is not None:
            seen = self._ready.result()
            parts.append(f"{'Ready' if seen.ready_at_end else 'not Ready'} ({len(seen.breaks)} breaks)")
        parts.append(f"{sum(each.count for each in self._figures.restarts())} restarts")
        if self._churn is not None:
            parts.append(f"{self._churn.starts} starts, {self._churn.failed} failed")
        slowest = self._latency.result().duration.p99_seconds
        parts.append(f"readyz p99 {slowest * 1000:.0f} ms" if slowest is not None else "no answer of the API")
        return ", ".join(parts)

    def _observed(self, interrupted: bool) -> Observed:
        node = self._ready.result() if self._ready is not None else None
        churn = self._churn.result() if self._churn is not None else None
        restarts, trends, api = self._figures.restarts(), self._figures.trends(), self._latency.result()
        found = causes(node, restarts, self._logs.memory_cache_errors, trends, churn, api, self._missed_samples)
        report = SoakReport(
            cluster=self._spec.name,
            level=self._record.decisions.level,
            began=self._began_at.isoformat(timespec="seconds"),
            seconds=round(self._clock(), 1),
            interrupted=interrupted,
            healthy=not found,
            causes=found,
            node=node,
            restarts=restarts,
            memory_cache_errors=self._logs.memory_cache_errors,
            errors=self._logs.errors(),
            trends=trends,
            churn=churn,
            api=api,
            surroundings=surroundings(),
            versions=shipped_versions(),
        )
        starts = self._churn.start_points() if self._churn is not None else []
        return Observed(report, self._figures, self._latency.points, starts)
