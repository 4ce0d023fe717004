"""How long the API takes to say that it is ready, about once a second."""

from __future__ import annotations

import http
import math
import time
from collections.abc import Callable, Sequence

import msgspec

from kins.cluster.api import ApiClient
from kins.soak.trend import Point
from kins.soak.workers import Workers

INTERVAL = 1.0
TIMEOUT = 10.0


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """Durations in seconds; all None when there were none."""

    p50_seconds: float | None
    p99_seconds: float | None
    longest_seconds: float | None


class Latency(msgspec.Struct, frozen=True, kw_only=True):
    """GET /readyz, each on a connection of its own, so that TCP and TLS are in it as in a call of kubectl."""

    requests: int
    failures: int
    duration: Spread


def spread(durations: Sequence[float]) -> Spread:
    """Median, 99th percentile and maximum, by nearest rank."""
    if not durations:
        return Spread(p50_seconds=None, p99_seconds=None, longest_seconds=None)
    ranked = sorted(durations)

    def rank(share: float) -> float:
        return round(ranked[math.ceil(share * len(ranked)) - 1], 4)

    return Spread(p50_seconds=rank(0.5), p99_seconds=rank(0.99), longest_seconds=round(ranked[-1], 4))


class LatencyWatch:
    """Asks once a second. `clock` gives the seconds since the start."""

    def __init__(self, client: ApiClient, clock: Callable[[], float]) -> None:
        self._client = client
        self._clock = clock
        self.points: list[Point] = []
        self.failures = 0

    def follow(self, workers: Workers) -> None:
        """Ask until the workers are to stop."""
        while workers.pause(INTERVAL):
            at, began = self._clock(), time.monotonic()
            try:
                status, _ = self._client.get("/readyz", TIMEOUT)
            except OSError:
                status = 0
            if workers.stopping:
                return
            if status == http.HTTPStatus.OK:
                self.points.append((at, time.monotonic() - began))
            else:
                self.failures += 1

    def result(self) -> Latency:
        """What was measured until now."""
        durations = [duration for _, duration in self.points]
        return Latency(requests=len(durations) + self.failures, failures=self.failures, duration=spread(durations))
