"""How a cluster is: its processes, its API, its node."""

from __future__ import annotations

import http.client
import ssl
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import msgspec

from kins.cluster import store
from kins.cluster.api import ApiClient
from kins.cluster.events import Event
from kins.cluster.node_health import NodeHealth, node_health, simulated_nodes
from kins.cluster.registry import registry_address
from kins.cluster.spec import KubeletDecision, Missing, Record
from kins.components import Layout, PublishedPort
from kins.errors import KinsError
from kins.supervise import control
from kins.supervise.component import ComponentStatus

ANSWER_SECONDS = 5.0
HEALTH_SECONDS = 2.0
# Started when the cluster is ready: that the first start takes a moment is no illness.
LATE = ("provisioner", "metrics-server")
State = Literal["running", "starting", "failed", "stopped", "crashed"]


class ComponentHealth(msgspec.Struct, frozen=True, kw_only=True):
    """A component as `status` shows it. `pid` is the one seen from here; `healthy` is None where nothing can be
    asked."""

    name: str
    state: str
    healthy: bool | None
    pid: int | None
    uptime_seconds: float
    restarts: int
    memory_bytes: int
    last_exit: str | None


class ApiHealth(msgspec.Struct, frozen=True, kw_only=True):
    """Where the API server is and whether its /readyz says ok."""

    server: str
    ready: bool


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """A cluster at a moment. `crashed`: it was made, nobody stopped it, and no supervisor lives; `missing`: why its
    level is no higher; `simulated`: the nodes that kwok plays."""

    name: str
    state: State
    level: str | None
    healthy: bool
    missing: tuple[Missing, ...]
    limits: tuple[str, ...]
    kubelet: KubeletDecision | None
    api: ApiHealth | None
    node: NodeHealth | None
    components: tuple[ComponentHealth, ...]
    published: tuple[PublishedPort, ...] = ()
    registry: str | None = None
    simulated: tuple[NodeHealth, ...] = ()


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """What the daemon answers to `status`."""

    events: tuple[Event, ...]
    components: tuple[ComponentStatus, ...]


def status(name: str) -> Status:
    """The state of a cluster. Raises KinsError `no-such-cluster`."""
    files = store.existing(name)
    record = store.record(files)
    if record is None or store.supervisor(files) is None:
        return _not_running(files, record)
    snapshot = msgspec.convert(control.ask_one(files.control_socket, "status", ANSWER_SECONDS), Snapshot)
    with ThreadPoolExecutor(max_workers=8) as pool:
        api = pool.submit(_api, files, record)
        node = pool.submit(node_health, files, record) if record.decisions.level == "node" else None
        simulated = pool.submit(simulated_nodes, files, record)
        healths = _healths(record)
        asked = {each: pool.submit(_healthy, healths[each]) for each in healths}
        pids = _outer_pids(snapshot.components)
        components = tuple(
            _component(each, asked[each.name].result() if each.name in asked else None, pids)
            for each in snapshot.components
        )
        found_api, found_node = api.result(), node.result() if node is not None else None
    return Status(
        name=name,
        state=_state(snapshot.events),
        level=record.decisions.level,
        healthy=found_api.ready
        and (found_node is None or found_node.ready)
        and all(each.ready for each in simulated.result())
        and all(_is_well(each) for each in components),
        missing=record.decisions.missing,
        limits=record.decisions.limits,
        kubelet=record.decisions.kubelet,
        api=found_api,
        node=found_node,
        components=components,
        published=record.settings.published,
        registry=registry_address(record.spec),
        simulated=simulated.result(),
    )


def _not_running(files: Layout, record: Record | None) -> Status:
    return Status(
        name=files.directory.name,
        state=_rest(files),
        level=record.decisions.level if record is not None else None,
        healthy=False,
        missing=record.decisions.missing if record is not None else (),
        limits=(),
        kubelet=record.decisions.kubelet if record is not None else None,
        api=None,
        node=None,
        components=(),
    )


def _rest(files: Layout) -> State:
    """The state of a cluster that no supervisor keeps."""
    return "stopped" if files.stopped.exists() else "crashed"


def _state(events: tuple[Event, ...]) -> State:
    match events[-1].phase if events else None:
        case "ready":
            return "running"
        case "failed":
            return "failed"
    return "starting"


def _is_well(component: ComponentHealth) -> bool:
    if component.name in LATE and component.state == "starting" and component.restarts == 0:
        return True
    return component.state == "ready" and component.healthy is not False


def _component(found: ComponentStatus, healthy: bool | None, pids: dict[tuple[str, ...], int]) -> ComponentHealth:
    return ComponentHealth(
        name=found.name,
        state=found.state,
        healthy=healthy,
        pid=pids.get(found.argv) if found.pid is not None else None,
        uptime_seconds=found.uptime_seconds,
        restarts=found.restarts,
        memory_bytes=found.memory_bytes,
        last_exit=found.last_exit,
    )


def _outer_pids(components: tuple[ComponentStatus, ...]) -> dict[tuple[str, ...], int]:
    """Our own view of the components' pids, by their arguments, which hold the cluster's path.

    The supervisor sees other numbers from inside its pid namespace, and gVisor's /proc/PID/status has no NSpid line.
    """
    wanted = {"\0".join(each.argv).encode() + b"\0": each.argv for each in components}
    found: dict[tuple[str, ...], int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                arguments = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if arguments in wanted:
                found[wanted[arguments]] = int(entry.name)
    return found


def _api(files: Layout, record: Record) -> ApiHealth:
    server = record.settings.api_url
    try:
        return ApiHealth(server=server, ready=ApiClient(files, record.settings).is_ready(HEALTH_SECONDS))
    except OSError:  # no certificates yet
        return ApiHealth(server=server, ready=False)


def _healths(record: Record) -> dict[str, str]:
    """Health endpoints on loopback, by component; the API server is asked as an administrator instead."""
    ports = record.settings.ports
    found = {
        "kube-controller-manager": f"https://127.0.0.1:{ports.controller_manager}/healthz",
        "kube-scheduler": f"https://127.0.0.1:{ports.scheduler}/healthz",
    }
    if record.decisions.level == "node":
        found["kubelet"] = f"http://127.0.0.1:{ports.kubelet_health}/healthz"
    return found


def _healthy(url: str) -> bool:
    """Whether a health endpoint answers 200. Its certificate is self-signed; nothing is sent to it."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        context = ssl._create_unverified_context()
        connection = http.client.HTTPSConnection(parts.hostname, parts.port, timeout=HEALTH_SECONDS, context=context)
    else:
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=HEALTH_SECONDS)
    try:
        connection.request("GET", parts.path)
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def summary(name: str) -> dict[str, Any]:
    """One line of `kins list`: name, state, level."""
    files = store.layout(name)
    record = store.record(files)
    level = record.decisions.level if record is not None else None
    if record is None or store.supervisor(files) is None:
        return {"name": name, "state": _rest(files), "level": level}
    try:
        answer = control.ask_one(files.control_socket, "status", ANSWER_SECONDS)
    except KinsError:
        return {"name": name, "state": "starting", "level": level}
    return {"name": name, "state": _state(msgspec.convert(answer, Snapshot).events), "level": level}
