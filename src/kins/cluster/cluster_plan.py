"""What bringing a cluster up consists of, as data: the supervisor does these lists, and `kins plan` prints them.

Made from the record and the facts by pure functions; nothing here is done.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property

import msgspec

from kins.cluster import identities, preparation
from kins.cluster.crossing import asking_registries, crossing
from kins.cluster.interception import reading_groups, traced
from kins.cluster.node_plan import emulated_control_group_steps, node_steps
from kins.cluster.preparation import Surroundings
from kins.cluster.prepared import Prepared
from kins.cluster.registry import announcement
from kins.cluster.spec import Record
from kins.components import Layout, coredns, kwok, metrics_server, provisioner, service_proxy, shared_pods
from kins.components.cgroupfs import cgroupfs, needing_control_groups
from kins.components.containerd import containerd
from kins.components.egress import egress
from kins.components.environment import component_environment
from kins.components.etcd import etcd
from kins.components.kube_apiserver import kube_apiserver
from kins.components.kube_controller_manager import kube_controller_manager
from kins.components.kube_scheduler import kube_scheduler
from kins.components.kubelet import kubelet
from kins.components.layout import ENGINE
from kins.components.objects import ApiObject
from kins.components.registry import registry
from kins.pki import Identity
from kins.plan import AnyStep
from kins.sandbox import Facts
from kins.supervise import Component


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A command that ends by itself; `environment` is its whole environment."""

    argv: tuple[str, ...]
    environment: dict[str, str]


class ClusterPlan:
    """One cluster in one sandbox. Without a node it asks nothing of the sandbox, and `facts` may be None."""

    def __init__(self, files: Layout, record: Record, facts: Facts | None) -> None:
        self.files = files
        self.record = record
        self._facts = facts

    @property
    def has_node(self) -> bool:
        """Whether the lists for a node are not empty."""
        return self.record.decisions.level == "node"

    @property
    def facts(self) -> Facts:
        """What a node rests on."""
        assert self._facts is not None, "the level `node` was chosen from facts"
        return self._facts

    @property
    def control_plane_identities(self) -> tuple[Identity, ...]:
        """Certificates of the control plane and of the administrator, beside the pair of keys `SIGNING_KEY`."""
        return identities.control_plane_identities(self.record.settings)

    @property
    def node_identities(self) -> tuple[Identity, ...]:
        """Certificates of what runs on a node."""
        return identities.node_identities(self.record.settings) if self.has_node else ()

    @property
    def control_plane_files(self) -> list[Prepared]:
        """What the control plane and the administrator read."""
        return preparation.control_plane_files(self.files, self.record.settings)

    def node_files(self, surroundings: Surroundings) -> list[Prepared]:
        """What the programs of a node read."""
        return preparation.node_files(self.files, self.record, self.facts, surroundings) if self.has_node else []

    @property
    def steps(self) -> list[AnyStep]:
        """What prepares the sandbox for a node, from inside of its namespaces."""
        return node_steps(self.files, self.record, self.facts) if self.has_node else []

    @property
    def steps_in_control_groups(self) -> list[AnyStep]:
        """The steps that wait for the component cgroupfs, where there is one."""
        return emulated_control_group_steps(self.record) if "cgroupfs" in self.components else []

    @cached_property
    def components(self) -> dict[str, Component]:
        """Every component by its name; each stands behind those that it needs."""
        found = [*self._control_plane(), *(self._node() if self.has_node else ())]
        return {each.name: each for each in found}

    @cached_property
    def objects(self) -> dict[str, tuple[ApiObject, ...]]:
        """What components find in the API server, by the component."""
        found = {"provisioner": provisioner.objects(node=self.has_node)}
        if self.record.spec.registry is not None:
            found["registry"] = (announcement(self.record.spec.registry),)
        if self.has_node:
            found["service-proxy"] = service_proxy.rights()
            found["coredns"] = coredns.objects(self.record.settings)
            found["metrics-server"] = metrics_server.objects(self.record.settings)
        if self.record.settings.simulation is not None:
            found["kwok"] = kwok.objects(self.record.settings.simulation)
        if self.record.settings.sockets:
            found["kubelet"] = (shared_pods.node(self.record.settings),)
        return found

    def image_job(self, *arguments: str) -> Job:
        """What the engine does with the images of the node's containerd."""
        argv = (str(ENGINE), "images", arguments[0], "--address", str(self.files.containerd_socket), *arguments[1:])
        return Job(argv=argv, environment=component_environment(self.files.directory))

    def _control_plane(self) -> Iterable[Component]:
        files, settings = self.files, self.record.settings
        yield etcd(files, settings)
        yield self._reaching_pods(kube_apiserver(files, settings))
        yield kube_controller_manager(files, settings)
        yield kube_scheduler(files, settings)
        if self.record.spec.registry is not None:
            yield registry(files, settings, self.record.spec.registry)
        yield provisioner.provisioner(files, settings, node=self.has_node)
        if settings.simulation is not None:
            yield kwok.kwok(files, settings, settings.simulation)

    def _reaching_pods(self, component: Component) -> Component:
        """What connects to pods, whose sockets are elsewhere where they share the sandbox's network."""
        return traced(component, self.files) if self.record.settings.sockets else component

    def _node(self) -> Iterable[Component]:
        files, settings, decisions = self.files, self.record.settings, self.record.decisions
        assert decisions.kubelet is not None, "a node has a kubelet"
        runtime, ways = asking_registries(containerd(files, settings), self.record), crossing(self.record)
        kind, view = decisions.kubelet.kind, decisions.kubelet.view
        agent = kubelet(files, settings, kind, view=view, supplied=decisions.supplied)
        if decisions.control_groups == "emulated":
            yield cgroupfs(files, settings)
            agent = needing_control_groups(agent)
        if decisions.interception:
            runtime, agent = reading_groups(runtime, files), reading_groups(agent, files)
        yield runtime
        if decisions.egress:
            yield egress(files, settings, ways)
        yield self._reaching_pods(agent)
        yield service_proxy.service_proxy(files, settings, publishing=ways is None)
        yield coredns.coredns(files, settings)
        yield self._reaching_pods(metrics_server.metrics_server(files, settings))
