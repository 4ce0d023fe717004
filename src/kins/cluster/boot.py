"""Bringing a cluster up: everything started together, readiness by events."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cached_property
from typing import TypeVar

from kins.cluster import kept_archives
from kins.cluster.api import ApiClient, is_ready_node, is_schedulable
from kins.cluster.building import Builder
from kins.cluster.events import Event, EventLog
from kins.cluster.interception import traced, write_rules
from kins.cluster.node_plan import emulated_control_group_steps, node_steps
from kins.cluster.preparation import prepare_control_plane, prepare_node
from kins.cluster.proxy_sharing import share_proxy
from kins.cluster.registry import announcement
from kins.cluster.spec import Record
from kins.components import Layout, metrics_server, provisioner
from kins.components.cgroupfs import cgroupfs, needing_control_groups
from kins.components.containerd import PAUSE_ARCHIVE, containerd
from kins.components.coredns import coredns
from kins.components.coredns import objects as coredns_objects
from kins.components.egress import egress
from kins.components.environment import component_environment
from kins.components.etcd import etcd
from kins.components.kube_apiserver import kube_apiserver
from kins.components.kube_controller_manager import kube_controller_manager
from kins.components.kube_scheduler import kube_scheduler
from kins.components.kubelet import kubelet
from kins.components.layout import ENGINE
from kins.components.objects import ApiObject
from kins.components.registry import address, registry
from kins.components.service_proxy import rights, service_proxy
from kins.components.versions import pause_image
from kins.errors import KinsError, system_error
from kins.plan import Journal
from kins.sandbox import Facts
from kins.supervise import Supervisor
from kins.supervise.logs import tail
from kins.supervise.process import SupervisedProcess

Argument = TypeVar("Argument")
# A component that dies that often in a row before the cluster is ready will not become ready by more tries.
TOO_MANY_FAILURES = 4
# How long one watch lasts before it is made anew; the waiting itself is bounded by whoever waits.
WATCH_SECONDS = 30
# /readyz offers no event; the API server in gVisor takes about two seconds from its first answer to ready.
READYZ_INTERVAL = 0.05
# How long the API server may take for one request, and until when after it is ready it is asked again: for what the
# cluster's readiness waits for, and for what comes after that.
ANSWER_SECONDS = 5.0
INSIST_SECONDS = 15.0
INSIST_LATE_SECONDS = 300.0
LONGEST_PAUSE = 1.0
# What these may do is in the roles that the API server makes a second after its first answer (rbac/bootstrap-roles is
# a poll). Until then the one asks /healthz once a second, and the other is refused and backs off.
NEED_ROLES = ("kube-controller-manager", "kube-scheduler")


class Boot:
    """The start of one cluster, told to an `EventLog`. `began` is the monotonic clock when the command was given."""

    def __init__(self, files: Layout, record: Record, facts: Facts | None, events: EventLog, began: float) -> None:
        self._files = files
        self._record = record
        self._facts = facts
        self._events = events
        self._began = began
        self._started = datetime.now(UTC)
        self._ready_since: float | None = None  # the API server, by the monotonic clock
        self._milestones: dict[str, asyncio.Event] = {}
        self.supervisor = Supervisor(files.runtime, self._changed)
        self.builder = Builder(files, record, facts, self.supervisor)

    async def run(self) -> None:
        """Start everything, return when the cluster is ready or cannot become so; the last event says which."""
        try:
            await self._run()
        except* (KinsError, OSError) as errors:
            error = _first(errors)
            if self._events.finished:  # nobody listens any more: what came late goes into the supervisor's log
                print(f"error: {error.message}", file=sys.stderr, flush=True)
            await self._events.add(
                Event(phase="failed", seconds=self._elapsed(), message=error.message, code=error.code, hint=error.hint)
            )

    async def _run(self) -> None:
        files, settings = self._files, self._record.settings
        self.supervisor.start(etcd(files, settings))
        prepare_control_plane(files, settings)
        self.supervisor.start(kube_apiserver(files, settings))
        await self._tell("prepared", "certificates and configuration written")
        waits = [self._api_ready(), self._service_account()]
        if self._record.spec.registry is not None:
            self.supervisor.start(registry(files, settings, self._record.spec.registry))
            waits += [self._registry(self._record.spec.registry)]
        if self._has_node:
            waits += [self._node()]
        self.supervisor.start(kube_controller_manager(files, settings))
        self.supervisor.start(kube_scheduler(files, settings))
        async with asyncio.TaskGroup() as group:
            for wait in waits:
                group.create_task(wait)
        await self._tell("ready", "the cluster is ready")
        await self._start_late()
        if self._record.spec.proxy_for_pods:
            await share_proxy(self._client)

    async def _start_late(self) -> None:
        """What nothing waits for: its start would slow down what everybody waits for."""
        files, settings = self._files, self._record.settings
        self.supervisor.start(provisioner.provisioner(files, settings, node=self._has_node))
        if self._has_node:
            self.supervisor.start(metrics_server.metrics_server(files, settings))
            await self._milestone("metrics-server").wait()
            await self._put(metrics_server.api_service(files), INSIST_LATE_SECONDS)

    @property
    def _has_node(self) -> bool:
        return self._record.decisions.level == "node"

    async def _api_ready(self) -> None:
        await self._milestone("kube-apiserver").wait()
        await self._tell("api", "the API server answers")
        client = self._client
        with self.supervisor.suspended(*NEED_ROLES):
            while not await asyncio.to_thread(client.is_ready, 5.0):
                await asyncio.sleep(READYZ_INTERVAL)
        self._ready_since = time.monotonic()
        await self._tell("readyz", "the API server is ready")
        objects = provisioner.objects(node=self._has_node)
        if self._has_node:
            objects += metrics_server.objects(self._record.settings)
            # Of an earlier run: discovery would complain until metrics-server answers again.
            path = f"{metrics_server.API_SERVICES}/{metrics_server.API_SERVICE}"
            await self._insist(client.remove, path, INSIST_SECONDS)
        for each in objects:
            await self._put(each)

    async def _put(self, wanted: ApiObject, seconds: float = INSIST_SECONDS) -> None:
        """Bring an object to the API server, which may be away for a while or still refuse everything.

        One that goes on refusing is not waited for: a user's webhook may stand in the way that is served by a pod,
        which comes when the cluster is up. An earlier start has then made the object long since.
        """
        await self._insist(self._client.put, wanted, seconds)

    async def _insist(self, request: Callable[[Argument, float], None], argument: Argument, seconds: float) -> None:
        """Make a request until it succeeds, or fails so many seconds after the API server was ready (counted once for
        all requests: many refusals must not add up)."""
        pause = READYZ_INTERVAL
        while True:
            try:
                return await asyncio.to_thread(request, argument, ANSWER_SECONDS)
            except OSError as error:
                if self._ready_since is not None:
                    if time.monotonic() - self._ready_since > seconds:
                        return print(f"error: {error}", file=sys.stderr, flush=True)
                    pause = min(2 * pause, LONGEST_PAUSE)
            await asyncio.sleep(pause)

    async def _service_account(self) -> None:
        await self._milestone("kube-apiserver").wait()
        await self._object("/api/v1/namespaces/default/serviceaccounts", "default", lambda _: True)
        await self._tell("service-account", "pods are admitted: the default ServiceAccount is there")

    async def _node(self) -> None:
        files, settings, decisions = self._files, self._record.settings, self._record.decisions
        assert self._facts is not None, "the level `node` was chosen from facts"
        assert decisions.kubelet is not None, "a node has a kubelet"
        prepare_node(files, self._record, decisions.kubelet, pause_image())
        journal = Journal(files.journal)
        journal.execute(node_steps(files, self._record, self._facts))
        if decisions.control_groups == "emulated":
            files.control_groups_state.unlink(missing_ok=True)  # of processes that a crash has ended
            self.supervisor.start(cgroupfs(files, settings))
            await self._milestone("cgroupfs").wait()
            journal.execute(emulated_control_group_steps(self._record))
        await self._tell("sandbox", "the sandbox is prepared for a node")
        runtime, agent = containerd(files, settings), kubelet(files, settings, decisions.kubelet.kind)
        if decisions.control_groups == "emulated":
            agent = needing_control_groups(agent)
        if decisions.interception:
            write_rules(files, self._record, self._facts)
            runtime, agent = traced(runtime, files), traced(agent, files)
        self.supervisor.start(runtime)
        if decisions.egress:
            self.supervisor.start(egress(files, settings))
        self.supervisor.start(agent)
        self.supervisor.start(service_proxy(files, settings))
        async with asyncio.TaskGroup() as group:
            group.create_task(self._services())
            group.create_task(self._images())
            group.create_task(self._node_ready())
            group.create_task(self._dns())

    async def _images(self) -> None:
        await self._milestone("containerd").wait()
        archives = kept_archives.kept(self._files)
        paths = [str(PAUSE_ARCHIVE), *(each.path for each in archives)]
        await self._run_images("load", "--snapshotter", self._record.decisions.snapshotter, *paths)
        if removed := kept_archives.removed(archives):
            await self._run_images("remove", *removed)
        await self._tell("images", "containerd answers and has its images")

    async def _run_images(self, command: str, *arguments: str) -> None:
        log = self._files.log("images")
        argv = [str(ENGINE), "images", command, "--address", str(self._files.containerd_socket), *arguments]
        code = await self.supervisor.run_job(argv, component_environment(self._files.directory), log)
        if code != 0:
            raise KinsError(
                "images could not be loaded into containerd: " + "; ".join(tail(log, 3)),
                code="image-load-failed",
                hint=f"see {log}",
            )

    async def _services(self) -> None:
        await self._milestone("kube-apiserver").wait()
        for each in rights():
            await self._put(each)
        await self._milestone("service-proxy").wait()
        await self._tell("services", "the addresses of Services answer")

    async def _dns(self) -> None:
        """Its rights first, without which it would wait for its next try."""
        await self._milestone("kube-apiserver").wait()
        for each in coredns_objects(self._record.settings):
            await self._put(each)
        self.supervisor.start(coredns(self._files, self._record.settings))
        await self._milestone("coredns").wait()
        await self._tell("dns", "the cluster's DNS server answers")

    async def _node_ready(self) -> None:
        await self._milestone("kube-apiserver").wait()
        name = self._record.settings.node_name
        await self._object("/api/v1/nodes", name, lambda node: is_ready_node(node, self._started))
        await self._tell("node", f"node {name} is Ready")
        await self._object("/api/v1/nodes", name, is_schedulable)
        await self._tell("schedulable", "pods are placed on the node")

    async def _registry(self, port: int) -> None:
        """Wait for it, and tell the tools that ask the cluster for a local registry (KEP-1755)."""
        await self._milestone("registry").wait()
        await self._milestone("kube-apiserver").wait()
        await self._put(announcement(port))
        await self._tell("registry", f"the registry answers at {address(port)}")

    async def _object(self, collection: str, name: str, wanted: Callable[[dict[str, object]], bool]) -> None:
        """Wait until an object is as wanted. A broken watch (the API server died) is made anew."""
        client = self._client

        def watch_once() -> bool:
            try:
                return any(wanted(found) for found in client.watch(collection, name, WATCH_SECONDS))
            except OSError:
                return False

        while not await asyncio.to_thread(watch_once):
            await asyncio.sleep(READYZ_INTERVAL)

    @cached_property
    def _client(self) -> ApiClient:
        """One for all requests: each new one reads the certificates, which are there from `prepared` on."""
        return ApiClient(self._files, self._record.settings)

    def _milestone(self, component: str) -> asyncio.Event:
        return self._milestones.setdefault(component, asyncio.Event())

    def _changed(self, supervised: SupervisedProcess) -> None:
        name = supervised.component.name
        if supervised.ready:
            self._milestone(name).set()
        if name == "buildkitd":
            self.builder.changed(ready=supervised.ready)
        if supervised.failures >= TOO_MANY_FAILURES and not self._events.finished:
            lines = tail(supervised.component.log, 5)
            event = Event(
                phase="failed",
                seconds=self._elapsed(),
                message=f"{name} keeps dying ({supervised.last_exit}): " + " | ".join(lines),
                code="component-failed",
                hint=f"kins up --retain {self._record.spec.name}; kins logs {name}",
            )
            self._telling = asyncio.get_running_loop().create_task(self._events.add(event))

    async def _tell(self, phase: str, message: str) -> None:
        await self._events.add(Event(phase=phase, seconds=self._elapsed(), message=message))

    def _elapsed(self) -> float:
        return round(time.monotonic() - self._began, 3)


def _first(errors: BaseExceptionGroup[KinsError | OSError]) -> KinsError:
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error if isinstance(error, KinsError) else system_error(error)
