"""The node's namespaces where the sandbox allows none of them: inside of a user namespace, with a network of their own.

What stays outside is one process: it has mapped the user ids, and gives sockets of the sandbox's network to the relay
inside (`kins.network.outside`). It ends when the node does, and the node ends when it does: both hold one end of a
pair of sockets.
"""

from __future__ import annotations

import contextlib
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


def enter(host_name: str, sockets: Path, announce: Callable[[int], None]) -> socket.socket:
    """Return as pid 1 of the new namespaces, with our end of the pair; the calling process stays outside for ever.

    `announce` is called outside, with the pid as seen there, before the new process goes on. `sockets` is where the
    process outside is asked for sockets. Raises OSError.
    """
    ours, theirs = socket.socketpair()
    told, tell = os.pipe()
    between = user_namespaces.fork(FLAGS | namespaces.CLONE_NEWNET)
    if between:
        theirs.close()
        os.close(tell)
        _stay_outside(os.read(told, 16), between, ours, sockets, announce)
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
    netlink.set_up("lo")
    return theirs


def _stay_outside(
    pid: bytes, between: int, lifeline: socket.socket, sockets: Path, announce: Callable[[int], None]
) -> NoReturn:
    """Announce the node's first process, and serve it until it ends."""
    os.waitpid(between, 0)
    if not pid:
        raise ChildProcessError(errno.ECHILD, "the first process of the node's namespaces did not start")
    server = outside.listen(sockets)
    announce(int(pid))
    lifeline.send(b"+")
    _let_go(lifeline, server)
    process.set_name("kins-outside")
    raise_descriptor_limit()
    outside.serve(server, lifeline)
    os._exit(0)


def _let_go(*kept: socket.socket) -> None:
    """Close everything else: locks, and the command's pipes, whose end it waits for."""
    null = os.open(os.devnull, os.O_RDWR)
    standard = range(sys.stderr.fileno() + 1)
    for number in standard:
        os.dup2(null, number)
    for number in map(int, os.listdir("/proc/self/fd")):
        if number not in (*standard, *(each.fileno() for each in kept)):
            with contextlib.suppress(OSError):  # that of the list itself
                os.close(number)


def main(arguments: list[str]) -> None:
    """For a script (`kins plan`): run a command as the node's first process. Does not return, but for an error."""
    sockets, *command = arguments
    place = Path(sockets)
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    lifeline = enter(socket.gethostname(), place, lambda _: None)
    os.set_inheritable(lifeline.fileno(), True)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
