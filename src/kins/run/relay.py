"""The ways out of and into an environment with a network of its own: one process stays outside and gives sockets of the
sandbox's network (`kins.network.outside`), and kins-egress inside leads to them."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

from kins.cluster.crossing import RESOLVER_FILE, led_outside
from kins.cluster.surroundings import raise_descriptor_limit
from kins.components.layout import BINARIES
from kins.errors import KinsError
from kins.network import addresses, outside
from kins.plan import AnyStep
from kins.plan.mounts import BindMount
from kins.run.servers import start
from kins.sys import process

LOOPBACK = "127.0.0.1"


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
        _serve(server, theirs)
    server.close()
    theirs.close()
    # It would end when the last copy is closed, that of pid 1, too.
    ours.detach()


def _serve(server: socket.socket, lifeline: socket.socket) -> NoReturn:
    standard = range(sys.stderr.fileno() + 1)
    null = os.open(os.devnull, os.O_RDWR)
    for number in standard:
        os.dup2(null, number)
    # The command's pipes too, whose end others wait for.
    process.close_others({*standard, server.fileno(), lifeline.fileno()})
    process.set_name("kins-outside")
    raise_descriptor_limit()
    try:
        outside.serve(server, lifeline)
    finally:
        os._exit(0)


def lead(place: Path, pods: Path, published: Iterable[int], logs: Path) -> None:
    """Start kins-egress in pid 1. `published` are ports of loopback inside that have the same number on the sandbox's.
    `pods` is a directory to make. Raises KinsError, OSError."""
    pods.mkdir()
    program = [str(BINARIES / "kins-egress"), f"--directory={pods}", f"--outside={place}"]
    ways_in = [f"--entrance={LOOPBACK}:{port}={LOOPBACK}:{port}" for port in published]
    ways_out = [f"--node={addresses.WAY_OUT_ADDRESS}", f"--loopback={addresses.OUTER_LOOPBACK}={addresses.LOOPBACK}"]
    start("egress", [*program, *ways_out, *ways_in], logs)


def resolver_steps(file: Path) -> list[AnyStep]:
    """A resolv.conf(5) in the place of one that names resolvers on the sandbox's loopback; `file` is made for it."""
    try:
        lines = Path(RESOLVER_FILE).read_text().splitlines()
    except FileNotFoundError:
        return []
    led = [led_outside(line) for line in lines]
    if led == lines:
        return []
    file.write_text("\n".join([*led, ""]))
    return [BindMount(source=str(file), target=RESOLVER_FILE, because="resolvers")]
