"""What pods' networks are made of, and what this sandbox's own network has.

All but the last probe works in a new network namespace: the sandbox's own is not touched. In gVisor with the host's
network such a one has no IPv4 at all, and some requests in it are never answered.
"""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

from kins.sandbox.probes.places import own_proc
from kins.sandbox.probes.settings import takes_numbers
from kins.sandbox.probes.table import Answers, Values
from kins.sys import namespaces, netlink
from kins.sys.tun import open_tun

FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")


def own_network(_: Path) -> None:
    """A new network namespace with IPv4. Where it has none, sockets fail with EAFNOSUPPORT."""
    namespaces.unshare(namespaces.CLONE_NEWNET)
    socket.socket(socket.AF_INET, socket.SOCK_STREAM).close()


def pod_network(scratch: Path) -> None:
    """Bridge, veth and addresses together."""
    own_network(scratch)
    netlink.create_bridge("probe-bridge")
    netlink.add_address("probe-bridge", "10.42.0.1/16")
    netlink.create_veth("probe-host", "probe-pod")
    netlink.set_up("probe-bridge")
    netlink.set_up("probe-host")


def bridge(scratch: Path) -> None:
    """A bridge with an address."""
    own_network(scratch)
    netlink.create_bridge("probe-bridge")
    netlink.add_address("probe-bridge", "10.42.0.1/16")
    netlink.set_up("probe-bridge")


def veth(scratch: Path) -> None:
    """A pair of veths."""
    own_network(scratch)
    netlink.create_veth("probe-host", "probe-pod")
    netlink.set_up("probe-host")


def tun(_: Path) -> None:
    """A tun device in a new network namespace."""
    namespaces.unshare(namespaces.CLONE_NEWNET)
    os.close(open_tun("probe-tun"))


def ranges_on_loopback(scratch: Path) -> None:
    """With one address of a range on `lo`, another one of it can be bound."""
    own_network(scratch)
    netlink.set_up("lo")
    netlink.add_address("lo", "10.43.0.1/16")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("10.43.7.7", 0))


def routes(scratch: Path) -> None:
    """A pod's: an address, and a default route by way of the bridge."""
    own_network(scratch)
    netlink.create_veth("probe-host", "probe-pod")
    netlink.add_address("probe-pod", "10.42.0.2/16")
    netlink.set_up("probe-host")
    netlink.set_up("probe-pod")
    netlink.add_default_route("probe-pod", "10.42.0.1")


def forwarding(scratch: Path) -> None:
    """The setting that lets packets pass between pods. In gVisor it is always that of the sandbox's own network."""
    own_network(scratch)
    own_proc()
    if not takes_numbers(FORWARDING):
        raise OSError(errno.EROFS, "cannot be written", str(FORWARDING))


def used_ranges(_: Path) -> list[str]:
    """Addresses and destinations that this network namespace knows."""
    return sorted({*netlink.addresses(), *netlink.routes()})


ANSWERS: Answers = {
    "pod_network": pod_network,
    "bridge": bridge,
    "veth": veth,
    "tun": tun,
    "ranges_on_loopback": ranges_on_loopback,
    "routes": routes,
    "forwarding": forwarding,
}
VALUES: Values = {"used_ranges": (used_ranges, [])}
