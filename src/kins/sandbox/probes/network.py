"""What pods' networks are made of, and what this sandbox's own network has."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from kins.sandbox.probes.table import Answers, Values
from kins.sys import namespaces, netlink
from kins.sys.tun import open_tun


def pod_network(_: Path) -> None:
    """Bridge, veth and addresses, tried in a new network namespace: the sandbox's own is not touched.

    Where that has no IPv4, as in gVisor with the host's network, sockets fail with EAFNOSUPPORT.
    """
    namespaces.unshare(namespaces.CLONE_NEWNET)
    socket.socket(socket.AF_INET, socket.SOCK_STREAM).close()
    netlink.create_bridge("probe-bridge")
    netlink.add_address("probe-bridge", "10.42.0.1/16")
    netlink.create_veth("probe-host", "probe-pod")
    netlink.set_up("probe-bridge")
    netlink.set_up("probe-host")


def tun(_: Path) -> None:
    """A tun device in a new network namespace."""
    namespaces.unshare(namespaces.CLONE_NEWNET)
    os.close(open_tun("probe-tun"))


def used_ranges(_: Path) -> list[str]:
    """Addresses and destinations that this network namespace knows."""
    return sorted({*netlink.addresses(), *netlink.routes()})


ANSWERS: Answers = {"pod_network": pod_network, "tun": tun}
VALUES: Values = {"used_ranges": (used_ranges, [])}
