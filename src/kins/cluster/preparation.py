"""The files that components read, as data: client configurations, kubeconfigs, configuration files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from kins import kubeconfig
from kins.cluster.crossing import resolver_files, resolver_lines
from kins.cluster.identities import ADMINISTRATOR, CONTROL_PLANE_CLIENTS, NODE_CLIENTS, SIMULATION_CLIENTS
from kins.cluster.interception import address_rules, component_rules, rules
from kins.cluster.kubelet_view import kubelet_view
from kins.cluster.prepared import EmptyDirectory, Kubeconfig, Nothing, Prepared, SymbolicLink, TextFile
from kins.cluster.spec import Record
from kins.components import Layout, Settings, containerd, coredns, kubelet, shared_pods
from kins.components.versions import pause_image
from kins.images.credentials import configuration_file
from kins.network import cni
from kins.plan import launcher
from kins.sandbox import Facts


class Surroundings(msgspec.Struct, frozen=True, kw_only=True):
    """What files say of the sandbox and the package besides the facts: the lines of resolv.conf(5), the path of the
    user's credentials for registries, the pause image's name."""

    resolver_lines: tuple[str, ...]
    credentials: str
    pause_image: str

    @classmethod
    def here(cls) -> Surroundings:
        """As they are now. Raises OSError, and KinsError `not-built`."""
        return cls(
            resolver_lines=tuple(resolver_lines()), credentials=str(configuration_file()), pause_image=pause_image()
        )


def control_plane_files(files: Layout, settings: Settings) -> list[Prepared]:
    """Client configurations of the control plane, and the administrator's kubeconfig."""
    clients = CONTROL_PLANE_CLIENTS | (SIMULATION_CLIENTS if settings.simulation is not None else {})
    prepared = [*_client_configurations(files, settings, clients), administrator(files, settings)]
    if settings.sockets:
        text = component_rules(settings).decode() + "\n"
        prepared.append(TextFile(path=str(files.interception_rules), content=text, because="pod_network"))
    return prepared


def node_files(files: Layout, record: Record, facts: Facts, surroundings: Surroundings) -> list[Prepared]:
    """What containerd, the CNI plugin, the kubelet, the proxy for Services and CoreDNS read."""
    return [
        *_client_configurations(files, record.settings, NODE_CLIENTS),
        *_container_runtime(files, record, surroundings),
        *_kubelet(files, record, surroundings),
        *_kubelet_view(files, record),
        *_kubelet_programs(files, record),
        TextFile(
            path=str(coredns.configuration_file(files)),
            content=coredns.configuration(files, record.settings, record.decisions.resolvers),
            because="coredns",
        ),
        *resolver_files(files, record, surroundings.resolver_lines),
        *_interception(files, record, facts),
    ]


def administrator(files: Layout, settings: Settings) -> Kubeconfig:
    """The cluster as its user's kubeconfig has it."""
    return _kubeconfig(files, settings, ADMINISTRATOR, files.kubeconfig, "kubectl")


def administrator_entry(files: Layout, settings: Settings) -> kubeconfig.Entry:
    """The cluster as an entry of other kubeconfigs."""
    return administrator(files, settings).entry()


def control_group_name(record: Record) -> str:
    """The control group below which all pods run; unique on the machine, because groups outlive namespaces."""
    return f"kins-{record.spec.name}-{record.identity}"


def _client_configurations(files: Layout, settings: Settings, clients: dict[str, str]) -> list[Prepared]:
    """Kubeconfigs of components, which show the certificates of identities."""
    return [
        _kubeconfig(files, settings, identity, files.client_configuration(name), name)
        for name, identity in clients.items()
    ]


def _kubeconfig(files: Layout, settings: Settings, identity: str, path: Path, because: str) -> Kubeconfig:
    return Kubeconfig(
        path=str(path),
        name=f"kins-{settings.name}",
        server=settings.api_url,
        authority=files.certificate("ca"),
        certificate=files.certificate(identity),
        key=files.key(identity),
        because=because,
    )


def _container_runtime(files: Layout, record: Record, surroundings: Surroundings) -> list[Prepared]:
    snapshotter, shared = record.decisions.snapshotter, record.decisions.pod_network == "shared"
    prepared: list[Prepared] = [
        TextFile(
            path=str(containerd.configuration_file(files)),
            content=containerd.configuration(files, snapshotter, surroundings.pause_image, shared_network=shared),
            because="containerd",
        ),
        # No pod is there yet: what lies in the relay's directory is of a cluster that crashed.
        (EmptyDirectory if record.decisions.egress else Nothing)(path=str(files.egress), because="egress"),
        TextFile(
            path=str(files.cni_configuration / cni.FILE_NAME),
            content=_json(_pod_network(files, record)),
            because="kins-cni",
        ),
        *(_shared_pods(files, record.settings) if shared else ()),
    ]
    if record.decisions.images_on == "tmpfs":
        because = "overlay_on_data: of compressed layers and of BuildKit's cache only the records were in memory"
        prepared.append(Nothing(path=str(files.builder), because=because))
        prepared.append(EmptyDirectory(path=str(files.image_content), because=because))
    return prepared


def _pod_network(files: Layout, record: Record) -> dict[str, Any]:
    if record.decisions.pod_network == "shared":
        return cni.shared_configuration(files.addresses)
    return cni.configuration(files.addresses, files.egress if record.decisions.egress else None)


def _shared_pods(files: Layout, settings: Settings) -> Iterator[Prepared]:
    """What stands between containerd and its programs: one program under their names, and what it reads."""
    because, place = "pod_network", files.shared_pods
    rules = [{rule.kind: msgspec.to_builtins(rule)} for rule in address_rules(settings)]
    content = shared_pods.configuration(settings, cni.address_directory(files.addresses), rules)
    yield EmptyDirectory(path=str(place), because=because)
    for name in shared_pods.NAMES:
        yield SymbolicLink(path=str(place / name), target=str(shared_pods.PROGRAM), because=because)
    yield TextFile(path=str(place / shared_pods.FILE_NAME), content=_json(content), because=because)


def _kubelet(files: Layout, record: Record, surroundings: Surroundings) -> list[Prepared]:
    chosen, resolver = record.decisions.kubelet, files.configuration / "resolv.conf"
    assert chosen is not None, "a node has a kubelet"
    configuration = kubelet.configuration(
        files,
        record.settings,
        chosen.kind,
        f"/{control_group_name(record)}",
        resolver,
        collects_images=record.decisions.images_on == "tmpfs",
    )
    return [
        TextFile(path=str(kubelet.configuration_file(files)), content=_json(configuration), because="kubelet"),
        # It reads the file every five minutes: what `docker login` writes, now or later, is for pods as well.
        SymbolicLink(path=str(kubelet.credentials_file(files)), target=surroundings.credentials, because="kubelet"),
        # Whole for pods with dnsPolicy Default, else its search domains.
        TextFile(path=str(resolver), content=_resolver_text(record.settings, surroundings), because="kubelet"),
    ]


def _resolver_text(settings: Settings, surroundings: Surroundings) -> str:
    """A resolv.conf(5) with the sandbox's search domains and options, if it has one, and the cluster's DNS server.

    That one asks the sandbox's own resolvers. Pods could not when they listen on loopback, and containerd fails a pod
    that has no nameserver where the sandbox has no /etc/resolv.conf.
    """
    kept = [line for line in surroundings.resolver_lines if line.split()[:1] != ["nameserver"]]
    return "\n".join([f"nameserver {settings.socket(settings.dns_address)}", *kept, ""])


def _kubelet_view(files: Layout, record: Record) -> list[Prepared]:
    """What the kubelet's own mount namespace needs; a recovered cluster may have had one before."""
    view, because = str(kubelet.view_file(files)), "kubelet"
    if record.decisions.kubelet is None or not record.decisions.kubelet.view:
        return [Nothing(path=view, because=because)]
    return [
        TextFile(path=view, content=launcher.text(kubelet_view(files, control_group_name(record))), because=because)
    ]


def _kubelet_programs(files: Layout, record: Record) -> list[Prepared]:
    """What the kubelet finds before the system's programs, and nothing of an earlier life."""
    directory, chosen = kubelet.programs(files), record.decisions.kubelet
    lazy = chosen is not None and chosen.view
    texts = kubelet.program_texts(record.decisions.supplied, lazy=lazy)
    because = "programs: the kubelet calls them for volumes"
    made = [
        TextFile(path=str(directory / name), content=text, executable=True, because=because)
        for name, text in texts.items()
    ]
    return [(EmptyDirectory if made else Nothing)(path=str(directory), because=because), *made]


def _interception(files: Layout, record: Record, facts: Facts) -> list[Prepared]:
    prepared: list[Prepared] = []
    if record.decisions.control_groups == "emulated":
        # Of processes that a crash has ended.
        prepared.append(Nothing(path=str(files.control_groups_state), because="cgroupfs"))
    if record.decisions.interception:
        text = rules(files, record, facts).decode() + "\n"
        prepared.append(TextFile(path=str(files.interception_rules), content=text, because="interception"))
    return prepared


def _json(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=2) + "\n"
