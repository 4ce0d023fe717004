"""The node's namespaces where the sandbox allows none of them: inside of a user namespace.

With a network of their own, one process stays outside: it has mapped the user ids, and gives sockets of the sandbox's
network to the relay inside (`kins.network.outside`). It ends when the node does, and the node ends when it does: both
hold one end of a pair of sockets. With the sandbox's network nobody stays outside.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from kins.cluster.node_namespaces import FLAGS
from kins.cluster.surroundings import raise_descriptor_limit
from kins.network import outside
from kins.sys import namespaces, netlink, process, user_namespaces


def enter(host_name: str, announce: Callable[[int], None], sockets: Path | None) -> socket.socket | None:
    """Return as pid 1 of the new namespaces, with our end of the pair, if there is one; the calling process does not
    return.

    `announce` is called outside, with the pid as seen there, before the new process goes on. `sockets` is where the
    process outside is asked for sockets of the sandbox's network; None keeps that network. Raises OSError.
    """
    ours, theirs = socket.socketpair()
    told, tell = os.pipe()
    network = namespaces.CLONE_NEWNET if sockets is not None else 0
    between = user_namespaces.fork(FLAGS | network)
    if between:
        theirs.close()
        os.close(tell)
        _finish_outside(os.read(told, 16), between, ours, sockets, announce)
    ours.close()
    pid = os.fork()
    if pid:
        os.write(tell, str(pid).encode())
        os._exit(0)
    os.close(told)
    os.close(tell)
    if theirs.recv(1) != b"+":
        os._exit(1)  # whoever announces us was killed: nobody would find us
    socket.sethostname(host_name)
    if sockets is None:
        theirs.close()
        return None
    netlink.set_up("lo")
    return theirs


def _finish_outside(
    pid: bytes, between: int, lifeline: socket.socket, sockets: Path | None, announce: Callable[[int], None]
) -> NoReturn:
    """Announce the node's first process, and serve it until it ends where it needs sockets."""
    os.waitpid(between, 0)
    if not pid:
        raise ChildProcessError(errno.ECHILD, "the first process of the node's namespaces did not start")
    server = outside.listen(sockets) if sockets is not None else None
    announce(int(pid))
    lifeline.send(b"+")
    if server is not None:
        serve_outside(server, lifeline)
    os._exit(0)


def serve_outside(server: socket.socket, lifeline: socket.socket) -> None:
    """Be the process that stays, with nothing of the command's, until the other end of `lifeline` is closed."""
    _let_go(lifeline, server)
    process.set_name("kins-outside")
    raise_descriptor_limit()
    outside.serve(server, lifeline)


def _let_go(*kept: socket.socket) -> None:
    """Close everything else: locks, and the command's pipes, whose end it waits for."""
    null = os.open(os.devnull, os.O_RDWR)
    standard = range(sys.stderr.fileno() + 1)
    for number in standard:
        os.dup2(null, number)
    process.close_others({*standard, *(each.fileno() for each in kept)})


def main(arguments: list[str]) -> None:
    """For a script (`kins plan`): `[SOCKETS] -- COMMAND…` runs a command as the node's first process. Does not return,
    but for an error."""
    separator = arguments.index("--")
    place = Path(arguments[0]) if separator else None
    command = arguments[separator + 1 :]
    if place is not None:
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    lifeline = enter(socket.gethostname(), lambda _: None, place)
    if lifeline is not None:
        os.set_inheritable(lifeline.fileno(), True)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
