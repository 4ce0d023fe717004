"""What stands in for pods' networks where network namespaces have no IP: addresses of loopback."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path

from kins.sandbox.probes.table import Answers
from kins.sys import namespaces

# Three that nobody else has: two servers on one port, and a client.
ADDRESSES = ("127.42.255.1", "127.42.255.2", "127.42.255.3")


def loopback_addresses(_: Path) -> None:
    """Two servers on one port of two addresses, a client that comes from a third; nothing of loopback is changed.

    Then a network namespace, in which nothing need work: containerd makes one for each pod.
    """
    with contextlib.ExitStack() as sockets:
        first, second = (sockets.enter_context(socket.socket()) for _ in range(2))
        first.bind((ADDRESSES[0], 0))
        second.bind((ADDRESSES[1], first.getsockname()[1]))
        second.listen()
        client = socket.create_connection(second.getsockname(), source_address=(ADDRESSES[2], 0))
        sockets.enter_context(client)
    namespaces.unshare(namespaces.CLONE_NEWNET)


ANSWERS: Answers = {"loopback_addresses": loopback_addresses}
