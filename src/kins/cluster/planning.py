"""What a request becomes in this sandbox: facts, decisions, names and ports. Nothing is changed yet."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import socket
from pathlib import Path

import msgspec

from kins.cgroupfs.server import check_device as check_fuse
from kins.cluster.decisions import decide, resting_on, without_node
from kins.cluster.registry import check_port
from kins.cluster.spec import WITHOUT_NODE, ClusterSpec, Decisions, Level, Record
from kins.components import PublishedPort, Settings, Simulation, coredns, kwok
from kins.components.settings import Ports
from kins.errors import KinsError, UsageError
from kins.intercept import check_support as check_interception
from kins.network import addresses, proxy
from kins.sandbox import Facts, probe

# What a cluster of a level has, for somebody who asks for another one.
HAS: dict[Level, str] = {"node": "has a node", "fake": "has simulated nodes alone", "control-plane": "has no node"}


def check_request(spec: ClusterSpec) -> None:
    """What can be refused without a look at the sandbox. Raises UsageError."""
    spec.validate()
    if spec.proxy_for_pods:
        _check_proxy()


def merged(asked: ClusterSpec, old: Record | None) -> ClusterSpec:
    """What a cluster comes up as: one that was made before as it was made, and as is asked for now. Raises KinsError
    `cluster-differs`."""
    if old is None:
        return asked
    check_same(asked, old)
    return msgspec.structs.replace(
        old.spec,
        level=old.decisions.level,
        kubelet=asked.kubelet if asked.kubelet != "auto" else old.spec.kubelet,
        arguments=asked.arguments or old.spec.arguments,
        published=asked.published or old.spec.published,
        proxy_for_pods=asked.proxy_for_pods or old.spec.proxy_for_pods,
    )


def check_same(asked: ClusterSpec, record: Record) -> None:
    """What a cluster was made as it stays; not asking for anything is no difference. Raises KinsError
    `cluster-differs`."""
    level, registry, fake_nodes = record.decisions.level, record.spec.registry, record.decisions.fake_nodes
    if asked.level not in ("auto", level) or (level in WITHOUT_NODE and _needs_node(asked)):
        raise differs(asked.name, HAS[level])
    if asked.fake_nodes not in (None, fake_nodes):
        raise differs(asked.name, f"has {fake_nodes or 'no'} simulated node{'' if fake_nodes == 1 else 's'}")
    if asked.additions and set(asked.additions) != set(record.spec.additions):
        raise differs(asked.name, f"has {', '.join(record.spec.additions) or 'no'} additions")
    if asked.registry not in (None, registry):
        raise differs(asked.name, f"has its registry on port {registry}" if registry is not None else "has no registry")


def differs(name: str, how: str) -> KinsError:
    """The error about a cluster that is not what is asked for."""
    return KinsError(f"cluster {name!r} {how}", code="cluster-differs", hint=f"kins down {name} && kins up {name} …")


def planned(spec: ClusterSpec, old: Record | None, home: Path) -> tuple[Record, Facts | None]:
    """The cluster as this sandbox can carry it, and the facts that it rests on; without a real node it needs none.

    `home` is an existing directory for the probes. Everything that can be refused is refused here: raises KinsError.
    """
    facts = None
    if spec.level in WITHOUT_NODE:
        decisions = without_node(spec, old.decisions.missing if old is not None else ())
    else:
        facts = probe(home)
        decisions = decide(facts, spec)
        facts = resting_on(facts, decisions)
        _check_decisions(spec, decisions)
    if spec.registry is not None:
        check_port(spec.registry)
    ports = old.settings.ports if old is not None and _are_free(old.settings.ports) else _free_ports()
    identity = old.identity if old is not None else secrets.token_hex(3)
    chosen = settings(spec, decisions, ports)
    if chosen.sockets:
        check_loopback(chosen.socket(chosen.dns_address))
    return Record(identity=identity, spec=spec, decisions=decisions, settings=chosen), facts


def _check_decisions(spec: ClusterSpec, decisions: Decisions) -> None:
    if decisions.level != "node" and (spec.level == "node" or _needs_node(spec)):
        raise _no_node(decisions)
    _check_published(spec.published)
    _check_additions(decisions)


def check_loopback(place: str) -> None:
    """Raises KinsError `node-exists` where a cluster of another sandbox has the addresses of pods: sandboxes with the
    network of one host have one loopback. `place` is that of a DNS server, which every cluster with a node has."""
    try:
        socket.create_server((place, coredns.PORT)).close()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise KinsError(
                f"another cluster uses the loopback of this sandbox: {place} has a server",
                code="node-exists",
                hint="end that one, or take a sandbox with a loopback of its own; kins up --level fake",
            ) from error


def _check_additions(decisions: Decisions) -> None:
    """Raises KinsError where the means that were asked for are not to be had here."""
    if decisions.interception and decisions.pod_network == "shared":
        raise KinsError(
            "pods share this sandbox's network by a tracer, and no program can have a second one",
            code="second-tracer",
            hint="kins up, without --with",
        )
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
    """A node is needed: every fact that forbids it, and what would change each."""
    causes = "; ".join(f"{missing.fact}: {missing.cause}" for missing in decisions.missing)
    hints = "; ".join(dict.fromkeys(missing.hint for missing in decisions.missing))
    return KinsError(f"this sandbox carries no node: {causes}", code="level-unavailable", hint=hints)


def level_sentence(decisions: Decisions) -> str:
    """What the probes led to, for people."""
    if decisions.isolation == "user-namespace":
        return "this sandbox carries a node in a user namespace of its own: level node"
    if not decisions.missing:
        return f"this sandbox carries the level asked for: {decisions.level}"
    facts = ", ".join(missing.fact for missing in decisions.missing)
    simulated = ", pods are simulated" if decisions.level == "fake" else ""
    return f"this sandbox carries no node ({facts}): level {decisions.level}{simulated}"


def settings(spec: ClusterSpec, decisions: Decisions, ports: Ports) -> Settings:
    """Names and addresses of a cluster, with ports that were chosen for it."""
    return Settings(
        name=spec.name,
        node_name=f"kins-{spec.name}",
        node_address=addresses.NODE_ADDRESS,
        pod_range=addresses.POD_RANGE,
        service_range=addresses.SERVICE_RANGE,
        load_balancer_range=addresses.LOAD_BALANCER_RANGE,
        api_service_address=addresses.API_SERVICE_ADDRESS,
        dns_address=addresses.DNS_ADDRESS,
        ports=ports,
        published=spec.published,
        arguments=spec.arguments,
        sockets=addresses.ON_LOOPBACK if decisions.pod_network == "shared" else {},
        simulation=_simulation(spec, decisions) if decisions.fake_nodes else None,
    )


def _simulation(spec: ClusterSpec, decisions: Decisions) -> Simulation:
    return Simulation(
        nodes={
            kwok.node_name(spec.name, number): addresses.address_in(addresses.SIMULATED_NODE_RANGE, number + 1)
            for number in range(decisions.fake_nodes)
        },
        pod_range=addresses.SIMULATED_POD_RANGE,
        beside=decisions.level == "node",
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
