"""The ways out of and into an environment with a network of its own: one process stays outside and gives sockets of the
sandbox's network (`kins.network.outside`), and kins-egress inside leads to them."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable
from pathlib import Path

from kins.cluster.crossing import RESOLVER_FILE, outer_resolvers, resolver_lines
from kins.cluster.user_namespace import serve_outside
from kins.components import egress
from kins.components.service_proxy import LOOPBACK
from kins.errors import KinsError
from kins.network import addresses, outside
from kins.plan import AnyStep
from kins.plan.files import CreateFile
from kins.plan.mounts import BindMount
from kins.run.servers import start
from kins.sys import process


def check_published(ports: Iterable[int]) -> None:
    """Raises KinsError `port-taken` for the first one that somebody listens on outside."""
    for port in ports:
        try:
            socket.create_server((LOOPBACK, port)).close()
        except OSError as error:
            raise KinsError(
                f"cannot publish {LOOPBACK} port {port}: {error.strerror}",
                code="port-taken",
                hint="end what listens there, or let the software take another port",
            ) from error


def stay_outside(place: Path) -> None:
    """Fork the process that stays, which ends with the calling one. `place` is the socket on which it is asked. Raises
    OSError."""
    server = outside.listen(place)
    ours, theirs = socket.socketpair()
    parent = os.getpid()
    if os.fork() == 0:
        process.die_with(parent)
        try:
            serve_outside(server, theirs)
        finally:
            os._exit(0)
    server.close()
    theirs.close()
    # It would end when the last copy is closed, that of pid 1, too.
    ours.detach()


def lead(place: Path, pods: Path, published: Iterable[int], logs: Path) -> None:
    """Start kins-egress in pid 1. `published` are ports of loopback inside that have the same number on the sandbox's.
    `pods` is a directory to make. Raises KinsError, OSError."""
    pods.mkdir()
    loopback = (addresses.OUTER_LOOPBACK, addresses.LOOPBACK)
    given = egress.ways(addresses.WAY_OUT_ADDRESS, loopback, map(egress.on_loopback, published))
    start("egress", [*egress.command(pods), f"--outside={place}", *given], logs)


def resolver_steps(file: Path) -> list[AnyStep]:
    """A resolv.conf(5) in the place of one that names resolvers on the sandbox's loopback; `file` is its own."""
    lines = resolver_lines()
    text, because = outer_resolvers(lines), "resolvers"
    if text.splitlines() == lines:
        return []
    return [
        CreateFile(path=str(file), content=text, because=because),
        BindMount(source=str(file), target=RESOLVER_FILE, because=because),
    ]
