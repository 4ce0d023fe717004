"""The node's condition Ready, followed by a watch of the API, so that no change is too short to be seen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from kins.cluster.api import ApiClient
from kins.soak.workers import Workers

# How long one watch lasts before it is made anew.
WATCH_SECONDS = 30
RETRY_SECONDS = 0.5


class Break(msgspec.Struct, frozen=True, kw_only=True):
    """A time in which the node was not Ready: since when, for how long, in whose words, and whether it ended.

    `seconds` is 0 for one that nobody saw because the API was away meanwhile.
    """

    at_seconds: float
    seconds: float
    status: str
    reason: str
    ended: bool


class Readiness(msgspec.Struct, frozen=True, kw_only=True):
    """The node during the watch. `breaks` are the times in which it was not Ready."""

    node: str
    ready_at_end: bool
    breaks: tuple[Break, ...]
    longest_break_seconds: float


class Condition(msgspec.Struct, frozen=True):
    """The node's condition Ready as an object of the API has it."""

    status: str
    since: str
    reason: str


def ready_condition(node: dict[str, Any]) -> Condition:
    """The condition of a Node; `Unknown` where it has none."""
    for found in node.get("status", {}).get("conditions", ()):
        if found["type"] == "Ready":
            return Condition(found["status"], found.get("lastTransitionTime", ""), found.get("reason", ""))
    return Condition("Unknown", "", "NoCondition")


class ReadyWatch:
    """Follows one node. `clock` gives the seconds since the start."""

    def __init__(self, client: ApiClient, node: str, clock: Callable[[], float]) -> None:
        self._client = client
        self._node = node
        self._clock = clock
        self._condition: Condition | None = None
        self._open: tuple[float, Condition] | None = None
        self._breaks: list[Break] = []

    def follow(self, workers: Workers) -> None:
        """See every change until the workers are to stop."""
        while not workers.stopping:
            try:
                for node in self._client.watch("/api/v1/nodes", self._node, WATCH_SECONDS):
                    if workers.stopping:
                        return
                    self.see(self._clock(), ready_condition(node))
            except (OSError, ValueError):
                # The API is away, which is the latency's business; the next watch begins with the state then.
                workers.pause(RETRY_SECONDS)

    def see(self, at: float, condition: Condition) -> None:
        """The node's condition at a time."""
        before, self._condition = self._condition, condition
        if condition.status == "True":
            if self._open is not None:
                self._breaks.append(self._finished(at, ended=True))
                self._open = None
            elif before is not None and before.since != condition.since:
                self._breaks.append(Break(at_seconds=at, seconds=0.0, status="?", reason="NotSeen", ended=True))
        elif self._open is None:
            self._open = (at, condition)

    def _finished(self, at: float, *, ended: bool) -> Break:
        assert self._open is not None
        began, condition = self._open
        seconds = round(at - began, 3)
        return Break(
            at_seconds=round(began, 3), seconds=seconds, status=condition.status, reason=condition.reason, ended=ended
        )

    def result(self) -> Readiness:
        """What was seen until now."""
        breaks = [*self._breaks, *([self._finished(self._clock(), ended=False)] if self._open is not None else [])]
        return Readiness(
            node=self._node,
            ready_at_end=self._condition is not None and self._condition.status == "True",
            breaks=tuple(breaks),
            longest_break_seconds=max((each.seconds for each in breaks), default=0.0),
        )
