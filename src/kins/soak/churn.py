"""The load: units are made at a steady rate, seen to start, removed, seen to go; what takes too long has failed."""

from __future__ import annotations

import http
import json
import threading
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from kins.cluster.api import ApiClient
from kins.soak.latency import Spread, spread
from kins.soak.loads import STARTS, UNIT_LABEL, Load, Object, unit_name
from kins.soak.trend import Point
from kins.soak.workers import Workers

REQUEST_SECONDS = 10.0
WATCH_SECONDS = 30
RETRY_SECONDS = 0.5
# What a unit may take to start, and then to go.
PATIENCE = 120.0
# How many units may be under way; more are not made, which shows in the rate.
MOST_UNITS = 20
# The API server keeps events for an hour: without this the store would grow through the whole watch.
EVENTS_SECONDS = 300.0
OVERDUE_CHECK_SECONDS = 1.0
# How long to wait at the end for what is under way.
DRAIN_SECONDS = 60.0


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """What went wrong with units, and how often."""

    what: str
    count: int


class Churn(msgspec.Struct, frozen=True, kw_only=True):
    """What the load did. `kind` is `pods`, whose containers are counted, or `deployments`, whose pods are."""

    kind: str
    wanted_per_hour: float
    per_hour: float
    units: int
    starts: int
    failures: tuple[Failure, ...]
    start: Spread
    removal: Spread


@dataclass
class Unit:
    """A unit under way; times in seconds since the start of the watch."""

    made_at: float
    started_at: float | None = None


class ChurnLoad:
    """Makes `per_hour` starts an hour in a namespace. `clock` gives the seconds since the start."""

    def __init__(
        self, client: ApiClient, namespace: str, load: Load, per_hour: float, clock: Callable[[], float]
    ) -> None:
        self._client = client
        self._pods = f"/api/v1/namespaces/{namespace}/pods"
        self._events = f"/api/v1/namespaces/{namespace}/events"
        self._collection = load.collection(namespace)
        self._load = load
        self._per_hour = per_hour
        self._clock = clock
        # The maker's and the watcher's threads share what follows.
        self._lock = threading.Lock()
        self._units: dict[int, Unit] = {}
        self._seen: dict[int, dict[str, Object]] = defaultdict(dict)
        self._failures: Counter[str] = Counter()
        self._restarted: set[str] = set()
        self._made = 0
        self._start_durations: list[Point] = []
        self._removal_durations: list[float] = []
        self._began: float | None = None
        self._ended: float | None = None

    # The maker

    def make(self, workers: Workers) -> None:
        """Make units at the rate until the workers are to stop."""
        interval = STARTS * 3600.0 / self._per_hour
        self._began = self._clock()
        due, events_due = self._began, self._began + EVENTS_SECONDS
        while not workers.stopping:
            now = self._clock()
            if now >= due:
                due += interval
                if self.under_way < MOST_UNITS:
                    self._make_one()
            if now >= events_due:
                events_due = now + EVENTS_SECONDS
                self._request("DELETE", self._events)
            self._give_up_overdue()
            workers.pause(min(max(due - self._clock(), 0.01), OVERDUE_CHECK_SECONDS))

    @property
    def under_way(self) -> int:
        """How many units are there."""
        with self._lock:
            return len(self._units)

    @property
    def starts(self) -> int:
        """How many starts were seen."""
        with self._lock:
            return STARTS * len(self._start_durations)

    @property
    def failed(self) -> int:
        """How many times something went wrong."""
        with self._lock:
            return self._failures.total()

    def drain(self, workers: Workers) -> None:
        """Make nothing more, and wait for what is under way."""
        self._ended = self._clock()
        while self.under_way and self._clock() < self._ended + DRAIN_SECONDS and workers.pause(RETRY_SECONDS):
            self._give_up_overdue()

    def _make_one(self) -> None:
        with self._lock:
            number, self._made = self._made, self._made + 1
            self._units[number] = Unit(self._clock())
        status = self._request("POST", self._collection, self._load.unit(number))
        if status != http.HTTPStatus.CREATED:
            self._fail(number, f"not created: {status or 'no answer'}")

    def _remove(self, number: int) -> None:
        options = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
        status = self._request("DELETE", f"{self._collection}/{unit_name(number)}", options)
        if status not in (http.HTTPStatus.OK, http.HTTPStatus.ACCEPTED, http.HTTPStatus.NOT_FOUND):
            self._fail(number, f"not deleted: {status or 'no answer'}")

    def _request(self, method: str, path: str, content: Object | None = None) -> int:
        """The status of a request; 0 when there is no answer."""
        try:
            return self._client.request(method, path, REQUEST_SECONDS, content)[0]
        except OSError:
            return 0

    def _give_up_overdue(self) -> None:
        now = self._clock()
        with self._lock:
            units = dict(self._units)
        for number, unit in units.items():
            if unit.started_at is None and now > unit.made_at + PATIENCE:
                self._fail(number, f"not started within {PATIENCE:g} s")
                self._remove(number)
            elif unit.started_at is not None and now > unit.started_at + PATIENCE:
                self._fail(number, f"not gone within {PATIENCE:g} s")

    def _fail(self, number: int, what: str) -> None:
        with self._lock:
            if self._units.pop(number, None) is not None:
                self._failures[what] += 1

    # The watcher

    def follow(self, workers: Workers) -> None:
        """See the units' pods start and go until the workers are to stop."""
        while not workers.stopping:
            try:
                version = self._list()
                for event in self._client.events(self._pods, WATCH_SECONDS, resourceVersion=version):
                    if workers.stopping:
                        return
                    if event["type"] == "ERROR":  # the version is too old: list again
                        break
                    self._see(event["object"], gone=event["type"] == "DELETED")
            except (OSError, ValueError):
                # The API is away, or the connection ended within a line.
                workers.pause(RETRY_SECONDS)

    def _list(self) -> str:
        """Take what there is now; what a broken watch did not tell is made good for."""
        status, body = self._client.get(self._pods, REQUEST_SECONDS)
        if status != http.HTTPStatus.OK:
            raise ConnectionError(f"{self._pods}: HTTP {status}")
        found = json.loads(body)
        names = {pod["metadata"]["name"] for pod in found["items"]}
        with self._lock:
            lost = [pod for pods in self._seen.values() for name, pod in pods.items() if name not in names]
        for pod in lost:
            self._see(pod, gone=True)
        for pod in found["items"]:
            self._see(pod, gone=False)
        version: str = found["metadata"]["resourceVersion"]
        return version

    def _see(self, pod: Object, *, gone: bool) -> None:
        number = int(pod["metadata"]["labels"][UNIT_LABEL])
        name = pod["metadata"]["name"]
        with self._lock:
            pods = self._seen[number]
            if gone:
                pods.pop(name, None)
            else:
                pods[name] = pod
            if is_restarted(pod) and name not in self._restarted:
                self._restarted.add(name)
                self._failures["a container was restarted"] += 1
            unit = self._units.get(number)
            removable = unit is not None and self._advance(number, unit, list(pods.values()))
            if not pods:
                del self._seen[number]
        if removable:
            self._remove(number)

    def _advance(self, number: int, unit: Unit, pods: list[Object]) -> bool:
        """Note what a unit has come to; whether it is to be removed now."""
        now = self._clock()
        if unit.started_at is None:
            if not self._load.is_started(pods):
                return False
            unit.started_at = now
            self._start_durations.append((now, now - unit.made_at))
            return True
        if not pods:
            self._removal_durations.append(now - unit.started_at)
            del self._units[number]
        return False

    def result(self) -> Churn:
        """What was done until now."""
        now = self._clock()
        began = self._began if self._began is not None else now
        seconds = (self._ended if self._ended is not None else now) - began
        with self._lock:
            starts = STARTS * len(self._start_durations)
            return Churn(
                kind=self._load.kind,
                wanted_per_hour=self._per_hour,
                per_hour=round(3600.0 * starts / seconds, 1) if seconds > 0 else 0.0,
                units=self._made,
                starts=starts,
                failures=tuple(Failure(what=what, count=count) for what, count in self._failures.most_common()),
                start=spread([duration for _, duration in self._start_durations]),
                removal=spread(self._removal_durations),
            )

    def start_points(self) -> list[Point]:
        """When units had started, and how long that took."""
        with self._lock:
            return list(self._start_durations)


def is_restarted(pod: Object) -> bool:
    """Whether a container of a pod was started again."""
    states = pod.get("status", {}).get("containerStatuses", ())
    return any(status.get("restartCount", 0) for status in states)
