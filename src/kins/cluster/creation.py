"""`up`: a cluster from nothing, or back from a stop or a crash."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from kins import kubeconfig
from kins.cluster import deletion, home_directory, locking, planning, stopping, store
from kins.cluster.daemon import Request
from kins.cluster.events import Event
from kins.cluster.handover import daemon_process, failure_of, node_lock
from kins.cluster.preparation import administrator_entry
from kins.cluster.registry import registry_address
from kins.cluster.spec import ClusterSpec, Missing, Record
from kins.cluster.surroundings import check_descriptors, check_room
from kins.components import Layout
from kins.errors import KinsError
from kins.sandbox import Facts
from kins.supervise import control
from kins.supervise.logs import tail

Progress = Callable[[Event], None]
# A supervisor that is about to listen does so within a second of its start.
LISTEN_INTERVAL = 0.05


class Created(msgspec.Struct, frozen=True, kw_only=True):
    """What `up` did. `outcome` is `created`, `started`, `recovered` or `already-running`; seconds count from the
    command's start; `fake_nodes` is how many nodes are simulated."""

    name: str
    outcome: str
    level: str
    missing: tuple[Missing, ...]
    context: str
    kubeconfig: str
    server: str
    events: tuple[Event, ...]
    registry: str | None
    fake_nodes: int


class Creation:
    """One run of `up`. `began` is the monotonic clock at the command's start."""

    def __init__(
        self, spec: ClusterSpec, *, began: float, timeout: float, wait: bool, retain: bool, progress: Progress
    ) -> None:
        planning.check_request(spec)
        self._spec = spec
        self._began = began
        self._deadline = began + timeout
        self._timeout = timeout
        self._wait = wait
        self._retain = retain
        self._progress = progress
        self._files = store.layout(spec.name)
        self._events: list[Event] = []

    def run(self) -> Created:
        """Bring the cluster up. Raises KinsError; unless `retain`, nothing is left then."""
        check_descriptors()
        with locking.exclusive(self._spec.name) as lock:
            if store.supervisor(self._files) is not None and not stopping.finish(self._files):
                return self._join()
            return self._start(lock)

    def _join(self) -> Created:
        """A supervisor lives: wait for it, if it still boots."""
        record = store.record(self._files)
        assert record is not None, "a supervisor writes nothing before its record is there"
        if self._spec.arguments and self._spec.arguments != record.spec.arguments:
            raise planning.differs(self._spec.name, "runs with other arguments")
        if self._spec.kubelet not in ("auto", record.decisions.kubelet and record.decisions.kubelet.kind):
            raise planning.differs(self._spec.name, "runs with another kubelet")
        if self._spec.published and set(self._spec.published) != set(record.spec.published):
            raise planning.differs(self._spec.name, "publishes other ports")
        if self._spec.proxy_for_pods and not record.spec.proxy_for_pods:
            raise planning.differs(self._spec.name, "tells pods of no proxy")
        planning.check_same(self._spec, record)
        self._follow()
        return self._result(record, "already-running")

    def _start(self, lock: int) -> Created:
        old = store.record(self._files)
        spec = planning.merged(self._spec, old)
        with node_lock(spec) as node, daemon_process(lock, node) as daemon:
            request = Request(
                directory=str(self._files.directory),
                began=self._began,
                lock=lock,
                node_lock=None if node is None else node.fileno(),
            )
            outcome = self._clear_remains()
            check_room(home_directory.path())
            record, facts = planning.planned(spec, old, home_directory.path())
            self._tell("probed", planning.level_sentence(record.decisions))
            if node is not None and record.decisions.level != "node":
                node.close()
            try:
                self._hand_over(daemon, request, record, facts)
                self._follow()
                return self._result(record, outcome)
            except BaseException:
                # Ctrl-C included: whoever asked for a cluster and did not get it finds nothing of it.
                if store.supervisor(self._files) is None:
                    daemon.kill()  # it has not told its pid yet, and would go on unseen
                    daemon.wait()
                if not self._retain and outcome == "created":
                    deletion.remove(self._files)
                elif not self._retain:
                    deletion.stop(self._files)
                raise

    def _clear_remains(self) -> str:
        """Undo what a cluster left that is not running; what bringing it up now is called."""
        if not self._files.directory.exists():
            return "created"
        deletion.stop(self._files)
        if store.record(self._files) is None:
            return "created"
        return "started" if self._files.stopped.exists() else "recovered"

    def _hand_over(
        self, daemon: subprocess.Popen[bytes], request: Request, record: Record, facts: Facts | None
    ) -> None:
        self._files.make_directories()
        if facts is not None:
            store.save(self._files.facts, facts)
        store.save(self._files.record, record)
        self._files.stopped.unlink(missing_ok=True)
        assert daemon.stdin is not None
        assert daemon.stdout is not None
        daemon.stdin.write(msgspec.json.encode(request) + b"\n")
        daemon.stdin.close()
        if daemon.stdout.readline() != b"listening\n":
            raise failure_of(daemon)

    def _follow(self) -> None:
        """Pass events on until the last one, or, for who does not wait, until the certificates are there that a
        kubeconfig is made of. Raises KinsError when the last one is a failure or does not come."""
        for event in _EventListener(self._files, self._deadline).events():
            self._events.append(event)
            self._progress(event)
            if event.phase == "failed":
                raise KinsError(event.message, code=event.code or "failed", hint=event.hint)
            if event.phase == "prepared" and not self._wait:
                return
        if not self._events or not self._events[-1].is_last:
            if time.monotonic() < self._deadline:
                said = tail(self._files.supervisor_log, 1) or ["it was killed"]
                raise KinsError(
                    f"the supervisor ended while the cluster came up: {said[0]}",
                    code="supervisor-failed",
                    hint=f"kins up {self._spec.name}",
                )
            reached = self._events[-1].message if self._events else "nothing"
            raise KinsError(
                f"the cluster was not ready within {self._timeout:g} s; it came as far as: {reached}",
                code="timeout",
                hint=f"kins up {self._spec.name} --retain --timeout {2 * self._timeout:g}s; kins logs",
            )

    def _result(self, record: Record, outcome: str) -> Created:
        path = self._kubeconfig(record)
        return Created(
            name=record.spec.name,
            outcome=outcome,
            level=record.decisions.level,
            missing=record.decisions.missing,
            context=f"kins-{record.spec.name}",
            kubeconfig=str(path),
            server=record.settings.api_url,
            events=tuple(self._events),
            registry=registry_address(record.spec),
            fake_nodes=record.decisions.fake_nodes,
        )

    def _kubeconfig(self, record: Record) -> Path:
        """The file with the cluster's context: kubectl's or, where home cannot be written, the cluster's own."""
        try:
            return kubeconfig.merge(administrator_entry(self._files, record.settings))
        except KinsError as error:
            if error.code != "kubeconfig-unwritable" or os.environ.get("KUBECONFIG"):
                raise
            own = self._files.kubeconfig
            self._tell("kubeconfig", f"{error.message}; kubectl finds the cluster by: export KUBECONFIG={own}")
            return own

    def _tell(self, phase: str, message: str) -> None:
        event = Event(phase=phase, seconds=round(time.monotonic() - self._began, 3), message=message)
        self._events.append(event)
        self._progress(event)


class _EventListener:
    """Follows the daemon's events up to a deadline."""

    def __init__(self, files: Layout, deadline: float) -> None:
        self._files = files
        self._deadline = deadline

    def events(self) -> Iterator[Event]:
        """Events as they come; ends with the last one or, without it, with the supervisor or at the deadline. One that
        does not listen yet, as after the death of the `up` that made it, is asked again."""
        heard = False
        while True:
            remaining = max(self._deadline - time.monotonic(), 0.1)
            try:
                for answer in control.ask(self._files.control_socket, "events", remaining):
                    heard = True
                    yield msgspec.convert(answer, Event)
                    if time.monotonic() > self._deadline:
                        return
                return
            except KinsError as error:
                if heard or error.code == "supervisor-silent" or store.supervisor(self._files) is None:
                    return
            if time.monotonic() > self._deadline:
                return
            time.sleep(LISTEN_INTERVAL)
