"""`up`: a cluster from nothing, or back from a stop or a crash."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import msgspec

from kins import kubeconfig
from kins.cgroupfs.server import check_device as check_fuse
from kins.cluster import deletion, store
from kins.cluster.daemon import Request, hold_node_lock
from kins.cluster.decisions import decide
from kins.cluster.events import Event
from kins.cluster.preparation import administrator
from kins.cluster.registry import check_port, registry_address
from kins.cluster.spec import ClusterSpec, Decisions, Missing, Record
from kins.components import PublishedPort, Settings
from kins.components.settings import Ports
from kins.errors import KinsError, UsageError
from kins.intercept import check_support as check_interception
from kins.network import addresses, proxy
from kins.sandbox import Facts, probe
from kins.supervise import control
from kins.supervise.logs import tail

Progress = Callable[[Event], None]
# How long a daemon may take until it listens; natively it takes 0.3 s, in a busy gVisor seconds.
DAEMON_SECONDS = 60.0


class Created(msgspec.Struct, frozen=True, kw_only=True):
    """What `up` did. `outcome` is `created`, `started`, `recovered` or `already-running`; seconds count from the
    command's start."""

    name: str
    outcome: str
    level: str
    missing: tuple[Missing, ...]
    context: str
    kubeconfig: str
    server: str
    events: tuple[Event, ...]
    registry: str | None


class Creation:
    """One run of `up`. `began` is the monotonic clock at the command's start."""

    def __init__(
        self, spec: ClusterSpec, *, began: float, timeout: float, wait: bool, retain: bool, progress: Progress
    ) -> None:
        spec.validate()
        if spec.proxy_for_pods:
            _check_proxy()
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
        with store.exclusive(self._spec.name):
            if store.supervisor(self._files) is not None:
                return self._join()
            return self._start()

    def _join(self) -> Created:
        """A supervisor lives: wait for it, if it still boots."""
        record = store.record(self._files)
        assert record is not None, "a supervisor writes nothing before its record is there"
        if self._spec.arguments and self._spec.arguments != record.spec.arguments:
            raise self._differs("runs with other arguments")
        if self._spec.kubelet not in ("auto", record.decisions.kubelet and record.decisions.kubelet.kind):
            raise self._differs("runs with another kubelet")
        if self._spec.published and set(self._spec.published) != set(record.spec.published):
            raise self._differs("publishes other ports")
        if self._spec.proxy_for_pods and not record.spec.proxy_for_pods:
            raise self._differs("tells pods of no proxy")
        self._check_kind(record)
        self._check_registry(record)
        self._follow()
        return self._result(record, "already-running")

    def _check_kind(self, record: Record) -> None:
        """What a cluster was made as it stays. Not asking for anything is no difference."""
        asked, level = self._spec.level, record.decisions.level
        if asked not in ("auto", level):
            raise self._differs("has a node" if level == "node" else "has no node")
        if self._spec.additions and set(self._spec.additions) != set(record.spec.additions):
            raise self._differs(f"has {', '.join(record.spec.additions) or 'no'} additions")

    def _check_registry(self, record: Record) -> None:
        if self._spec.registry not in (None, record.spec.registry):
            port = record.spec.registry
            raise self._differs(f"has its registry on port {port}" if port is not None else "has no registry")

    def _differs(self, how: str) -> KinsError:
        name = self._spec.name
        return KinsError(
            f"cluster {name!r} {how}", code="cluster-differs", hint=f"kins down {name} && kins up {name} …"
        )

    def _start(self) -> Created:
        with _daemon() as daemon:
            outcome = self._clear_remains()
            record, facts = self._plan()
            try:
                self._hand_over(daemon, record, facts)
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

    def _plan(self) -> tuple[Record, Facts | None]:
        """Everything that can be refused is refused here, before anything is touched."""
        old = store.record(self._files)
        spec = self._spec
        if old is not None:
            self._check_kind(old)
            self._check_registry(old)
            kubelet = self._spec.kubelet if self._spec.kubelet != "auto" else old.spec.kubelet
            spec = msgspec.structs.replace(
                old.spec,
                kubelet=kubelet,
                arguments=self._spec.arguments or old.spec.arguments,
                published=self._spec.published or old.spec.published,
                proxy_for_pods=self._spec.proxy_for_pods or old.spec.proxy_for_pods,
            )
        if spec.level == "control-plane":
            # It asks nothing of the sandbox.
            facts, decisions = None, Decisions(level="control-plane")
        else:
            # First: to the probes another cluster's network would be a lack of the sandbox.
            hold_node_lock().close()
            facts = probe(store.home())
            decisions = decide(facts, spec)
            if decisions.level != "node" and (spec.level == "node" or _needs_node(spec)):
                raise _no_node(decisions)
            _check_published(spec.published)
            _check_additions(decisions)
        if spec.registry is not None:
            check_port(spec.registry)
        self._tell("probed", _level_sentence(decisions))
        settings = _settings(spec, old.settings.ports if old is not None else None)
        identity = old.identity if old is not None else secrets.token_hex(3)
        return Record(identity=identity, spec=spec, decisions=decisions, settings=settings), facts

    def _hand_over(self, daemon: subprocess.Popen[bytes], record: Record, facts: Facts | None) -> None:
        self._files.make_directories()
        if facts is not None:
            store.save(self._files.facts, facts)
        store.save(self._files.record, record)
        self._files.stopped.unlink(missing_ok=True)
        assert daemon.stdin is not None
        assert daemon.stdout is not None
        request = Request(directory=str(self._files.directory), began=self._began)
        daemon.stdin.write(msgspec.json.encode(request) + b"\n")
        daemon.stdin.close()
        if daemon.stdout.readline() != b"listening\n":
            raise _daemon_failure(daemon.stderr)

    def _follow(self) -> None:
        """Pass events on until the last one, or, for who does not wait, until the certificates are there that a
        kubeconfig is made of. Raises KinsError when the last one is a failure or does not come."""
        remaining = max(self._deadline - time.monotonic(), 0.1)
        listener = _EventListener(self._files.control_socket, self._deadline)
        for event in listener.events(remaining):
            self._events.append(event)
            self._progress(event)
            if event.phase == "failed":
                raise KinsError(event.message, code=event.code or "failed", hint=event.hint)
            if event.phase == "prepared" and not self._wait:
                return
        if not self._events or not self._events[-1].is_last:
            if store.supervisor(self._files) is None:
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
        )

    def _kubeconfig(self, record: Record) -> Path:
        return kubeconfig.merge(administrator(self._files, record.settings))

    def _tell(self, phase: str, message: str) -> None:
        event = Event(phase=phase, seconds=round(time.monotonic() - self._began, 3), message=message)
        self._events.append(event)
        self._progress(event)


class _EventListener:
    """Follows the daemon's events up to a deadline."""

    def __init__(self, path: Path, deadline: float) -> None:
        self._path = path
        self._deadline = deadline

    def events(self, timeout: float) -> Iterator[Event]:
        """Events as they come; ends with the last one or, without it, at the deadline."""
        try:
            for answer in control.ask(self._path, "events", timeout):
                yield msgspec.convert(answer, Event)
                if time.monotonic() > self._deadline:
                    return
        except KinsError as error:
            if error.code != "supervisor-silent":
                raise


@contextlib.contextmanager
def _daemon() -> Iterator[subprocess.Popen[bytes]]:
    """A daemon process that waits for its orders; it ends by itself when it gets none."""
    daemon = subprocess.Popen(
        [sys.executable, "-P", "-m", "kins.cluster.daemon"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        cwd="/",
    )
    try:
        yield daemon
    finally:
        for pipe in (daemon.stdin, daemon.stdout, daemon.stderr):
            if pipe is not None and not pipe.closed:
                pipe.close()


def _daemon_failure(stderr: IO[bytes] | None) -> KinsError:
    lines = stderr.read().decode(errors="replace").strip().splitlines() if stderr is not None else []
    return KinsError(
        "the supervisor did not start: " + (lines[-1] if lines else "no reason given"), code="supervisor-failed"
    )


def _check_additions(decisions: Decisions) -> None:
    """Raises KinsError where the means that were asked for are not to be had here."""
    if decisions.interception:
        check_interception()
    if decisions.control_groups == "emulated":
        check_fuse()


def _check_proxy() -> None:
    """Raises UsageError `no-proxy`, and OSError where the authorities cannot be read."""
    proxy.authorities(os.environ)
    if not proxy.variables(os.environ):
        raise UsageError(
            "there is no proxy to tell pods of: neither HTTP_PROXY nor HTTPS_PROXY is set",
            code="no-proxy",
            hint="HTTPS_PROXY=http://proxy.example:3128 kins up --proxy-for-pods",
        )


def _check_published(ports: tuple[PublishedPort, ...]) -> None:
    """Raises KinsError for the first port that somebody listens on, or whose address is not the sandbox's."""
    for each in ports:
        try:
            socket.create_server((each.address, each.port)).close()
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                raise KinsError(
                    f"cannot publish on {each.address}: the sandbox has no such address",
                    code="address-unavailable",
                    hint="ip addr",
                ) from error
            raise KinsError(
                f"cannot publish on {each.address} port {each.port}: {error.strerror}",
                code="port-taken",
                hint=f"end what listens there, or take another port: kins up -p {each.address}:PORT:{each.node_port}",
            ) from error


def _needs_node(spec: ClusterSpec) -> bool:
    """Whether it asks for something that only a node has."""
    return bool(spec.additions or spec.published or spec.proxy_for_pods)


def _no_node(decisions: Decisions) -> KinsError:
    """A node was asked for by name: every fact that forbids it, and what would change the first one."""
    causes = "; ".join(f"{missing.fact}: {missing.cause}" for missing in decisions.missing)
    return KinsError(
        f"this sandbox carries no node: {causes}", code="level-unavailable", hint=decisions.missing[0].hint
    )


def _level_sentence(decisions: Decisions) -> str:
    if not decisions.missing:
        return f"this sandbox carries the level asked for: {decisions.level}"
    facts = ", ".join(missing.fact for missing in decisions.missing)
    return f"this sandbox carries no node ({facts}): level {decisions.level}"


def _settings(spec: ClusterSpec, used: Ports | None) -> Settings:
    return Settings(
        name=spec.name,
        node_name=f"kins-{spec.name}",
        node_address=addresses.NODE_ADDRESS,
        pod_range=addresses.POD_RANGE,
        service_range=addresses.SERVICE_RANGE,
        load_balancer_range=addresses.LOAD_BALANCER_RANGE,
        api_service_address=addresses.API_SERVICE_ADDRESS,
        dns_address=addresses.DNS_ADDRESS,
        ports=used if used is not None and _are_free(used) else _free_ports(),
        published=spec.published,
        arguments=spec.arguments,
    )


def _are_free(ports: Ports) -> bool:
    """Whether a recovered cluster can keep its ports, and with them the kubeconfigs that its users made of it."""
    with contextlib.ExitStack() as held:
        try:
            for port in msgspec.structs.astuple(ports):
                held.enter_context(socket.create_server(("127.0.0.1", port)))
        except OSError:
            return False
    return True


def _free_ports() -> Ports:
    """Ports that nobody listens on now. All are held until all are known, so that they differ."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in msgspec.structs.fields(Ports)]
    ports = {field.name: each.getsockname()[1] for field, each in zip(msgspec.structs.fields(Ports), held, strict=True)}
    for each in held:
        each.close()
    return Ports(**ports)
