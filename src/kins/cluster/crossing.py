"""A node in a network of its own: how its components reach the sandbox's, and are reached from there, by the relay."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from kins.cluster.prepared import TextFile
from kins.cluster.spec import Record
from kins.components import Layout
from kins.components.egress import Crossing
from kins.network import addresses, proxy
from kins.plan.mounts import BindMount
from kins.supervise import Component

RESOLVER_FILE = "/etc/resolv.conf"


def crossing(record: Record) -> Crossing | None:
    """The relay's ways. Where the node has the sandbox's own network, there is nothing to cross."""
    if not record.decisions.behind_relay:
        return None
    return Crossing(
        way_out=addresses.WAY_OUT_ADDRESS,
        loopback=(addresses.OUTER_LOOPBACK, addresses.LOOPBACK),
        registry=record.spec.registry,
    )


def asking_registries(component: Component, record: Record) -> Component:
    """What pulls images; a proxy on the sandbox's loopback has another address there."""
    if not record.decisions.behind_relay:
        return component
    return msgspec.structs.replace(component, environment=proxy.led_outside(component.environment))


def resolver_lines() -> list[str]:
    """The lines of the sandbox's resolv.conf(5); none without one. Raises OSError."""
    try:
        return Path(RESOLVER_FILE).read_text().splitlines()
    except FileNotFoundError:
        return []


def resolver_files(files: Layout, record: Record, lines: Iterable[str]) -> Iterator[TextFile]:
    """A resolv.conf(5) with the `lines` of the sandbox's, for containerd and BuildKit, where it names resolvers on
    loopback. CoreDNS is told of them without one, and pods ask CoreDNS."""
    if _asks_loopback(record):
        yield TextFile(path=str(files.outer_resolvers), content=outer_resolvers(lines), because="resolvers")


def resolver_steps(files: Layout, record: Record) -> Iterator[BindMount]:
    """That file in the place of the sandbox's."""
    if _asks_loopback(record):
        yield BindMount(source=str(files.outer_resolvers), target=RESOLVER_FILE, because="resolvers")


def _asks_loopback(record: Record) -> bool:
    outer = ipaddress.ip_network(addresses.OUTER_LOOPBACK)
    return any(ipaddress.ip_address(each) in outer for each in record.decisions.resolvers)


def outer_resolvers(lines: Iterable[str]) -> str:
    """A resolv.conf(5) with these lines, for a network in which the sandbox's loopback has other addresses."""
    return "\n".join([*map(_led_outside, lines), ""])


def _led_outside(line: str) -> str:
    match line.split():
        case ["nameserver", address, *_]:
            return f"nameserver {addresses.of_outer_loopback(address)}"
    return line
