"""Bringing a cluster up: everything started together, readiness by events."""

from __future__ import annotations

import asyncio
import sys
import time
from base64 import b64encode
from datetime import UTC, datetime
from pathlib import Path

from kins.cluster import kept_archives
from kins.cluster.api import is_ready_node, is_ready_simulated_node, is_schedulable
from kins.cluster.building import Builder
from kins.cluster.cluster_plan import ClusterPlan
from kins.cluster.events import Event, EventLog
from kins.cluster.identities import SIGNING_KEY
from kins.cluster.insistent_client import INSIST_LATE_SECONDS, InsistentClient
from kins.cluster.preparation import Surroundings
from kins.cluster.proxy_sharing import share_proxy
from kins.cluster.spec import Record
from kins.components import Layout, Simulation, metrics_server
from kins.components.containerd import PAUSE_ARCHIVE
from kins.components.registry import address
from kins.errors import KinsError, as_kins_error
from kins.pki import create_signing_key, issue
from kins.plan import Journal
from kins.sandbox import Facts
from kins.supervise import Supervisor
from kins.supervise.logs import tail
from kins.supervise.process import SupervisedProcess

# A component that dies that often in a row before the cluster is ready will not become ready by more tries.
TOO_MANY_FAILURES = 4
# What these may do is in the roles that the API server makes a second after its first answer (rbac/bootstrap-roles is
# a poll). Until then the one asks /healthz once a second, and the other is refused and backs off.
NEED_ROLES = ("kube-controller-manager", "kube-scheduler")


class Boot:
    """The start of one cluster, told to an `EventLog`. `began` is the monotonic clock when the command was given."""

    def __init__(self, files: Layout, record: Record, facts: Facts | None, events: EventLog, began: float) -> None:
        self._files = files
        self._record = record
        self._plan = ClusterPlan(files, record, facts)
        self._events = events
        self._began = began
        self._started = datetime.now(UTC)
        self._api = InsistentClient(files, record.settings)
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
        self._start("etcd")
        self._prepare_control_plane()
        self._start("kube-apiserver")
        await self._tell("prepared", "certificates and configuration written")
        waits = [self._api_ready(), self._service_account()]
        if self._record.spec.registry is not None:
            self._start("registry")
            waits += [self._registry(self._record.spec.registry)]
        if self._plan.has_node:
            waits += [self._node()]
        if self._record.settings.simulation is not None:
            waits += [self._simulation(self._record.settings.simulation)]
        self._start("kube-controller-manager", "kube-scheduler")
        async with asyncio.TaskGroup() as group:
            for wait in waits:
                group.create_task(wait)
        await self._tell("ready", "the cluster is ready")
        await self._start_late()
        if self._record.spec.proxy_for_pods:
            await share_proxy(self._api.once)

    def _start(self, *names: str) -> None:
        for name in names:
            self.supervisor.start(self._plan.components[name])

    def _prepare_control_plane(self) -> None:
        create_signing_key(self._files.pki, SIGNING_KEY)
        issue(self._files.pki, self._plan.control_plane_identities)
        for each in self._plan.control_plane_files:
            each.make()

    async def _start_late(self) -> None:
        """What nothing waits for: its start would slow down what everybody waits for."""
        self._start("provisioner")
        if self._plan.has_node:
            self._start("metrics-server")
            await self._milestone("metrics-server").wait()
            authority = b64encode(Path(self._files.certificate("ca")).read_bytes()).decode()
            await self._api.put(metrics_server.api_service(authority), INSIST_LATE_SECONDS)

    async def _api_ready(self) -> None:
        await self._milestone("kube-apiserver").wait()
        await self._tell("api", "the API server answers")
        with self.supervisor.suspended(*NEED_ROLES):
            await self._api.until_ready()
        await self._tell("readyz", "the API server is ready")
        if self._plan.has_node:
            # Of an earlier run: discovery would complain until metrics-server answers again.
            await self._api.remove(f"{metrics_server.API_SERVICES}/{metrics_server.API_SERVICE}")
        await self._put_all("provisioner")
        await self._put_all("metrics-server")

    async def _put_all(self, component: str) -> None:
        await self._api.put_all(self._plan.objects.get(component, ()))

    async def _service_account(self) -> None:
        await self._milestone("kube-apiserver").wait()
        await self._api.until("/api/v1/namespaces/default/serviceaccounts", "default", lambda _: True)
        await self._tell("service-account", "pods are admitted: the default ServiceAccount is there")

    async def _node(self) -> None:
        self._prepare_node()
        journal = Journal(self._files.journal)
        journal.execute(self._plan.steps)
        if "cgroupfs" in self._plan.components:
            self._start("cgroupfs")
            await self._milestone("cgroupfs").wait()
            journal.execute(self._plan.steps_in_control_groups)
        await self._tell("sandbox", "the sandbox is prepared for a node")
        self._start("containerd")
        if self._record.decisions.egress:
            self._start("egress")
        if "kubelet" in self._plan.objects:
            await self._milestone("kube-apiserver").wait()
            await self._put_all("kubelet")
        self._start("kubelet", "service-proxy")
        async with asyncio.TaskGroup() as group:
            group.create_task(self._services())
            group.create_task(self._images())
            group.create_task(self._node_ready())
            group.create_task(self._dns())
            group.create_task(self._ways_in())

    def _prepare_node(self) -> None:
        issue(self._files.pki, self._plan.node_identities)
        for each in self._plan.node_files(Surroundings.here()):
            each.make()

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
        job = self._plan.image_job(command, *arguments)
        code = await self.supervisor.run_job(list(job.argv), job.environment, log)
        if code != 0:
            raise KinsError(
                "images could not be loaded into containerd: " + "; ".join(tail(log, 3)),
                code="image-load-failed",
                hint=f"see {log}",
            )

    async def _ways_in(self) -> None:
        """Into a network of the node's own: the API server, too, is reached by the relay then."""
        if self._record.decisions.behind_relay:
            await self._milestone("egress").wait()

    async def _services(self) -> None:
        await self._milestone("kube-apiserver").wait()
        await self._put_all("service-proxy")
        await self._milestone("service-proxy").wait()
        await self._tell("services", "the addresses of Services answer")

    async def _dns(self) -> None:
        """Its rights first, without which it would wait for its next try."""
        await self._milestone("kube-apiserver").wait()
        await self._put_all("coredns")
        self._start("coredns")
        await self._milestone("coredns").wait()
        await self._tell("dns", "the cluster's DNS server answers")

    async def _node_ready(self) -> None:
        await self._milestone("kube-apiserver").wait()
        name = self._record.settings.node_name
        await self._api.until("/api/v1/nodes", name, lambda node: is_ready_node(node, self._started))
        await self._tell("node", f"node {name} is Ready")
        await self._api.until("/api/v1/nodes", name, is_schedulable)
        await self._tell("schedulable", "pods are placed on the node")

    async def _registry(self, port: int) -> None:
        """Wait for it, and tell the tools that ask the cluster for a local registry (KEP-1755)."""
        await self._milestone("registry").wait()
        await self._milestone("kube-apiserver").wait()
        await self._put_all("registry")
        await self._tell("registry", f"the registry answers at {address(port)}")

    async def _simulation(self, simulation: Simulation) -> None:
        """Rights and nodes first: kwok then begins with all that there is."""
        await self._milestone("kube-apiserver").wait()
        await self._put_all("kwok")
        self._start("kwok")
        await self._milestone("kwok").wait()
        for name in simulation.nodes:
            await self._api.until("/api/v1/nodes", name, is_ready_simulated_node)
        await self._tell("simulation", f"simulated nodes are Ready: {len(simulation.nodes)}")

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
    return as_kins_error(error)
