"""The namespaces that a node lives in: their end takes its processes and mounts with it."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable

from kins.errors import KinsError
from kins.sys import namespaces

# An abstract socket (unix(7)) lives in the network namespace, as do the bridge and addresses that allow only one node.
NODE_LOCK = "\0kins-node"
# Each with its option of unshare(1).
KINDS = {
    namespaces.CLONE_NEWNS: "--mount",
    namespaces.CLONE_NEWPID: "--pid",
    namespaces.CLONE_NEWIPC: "--ipc",
    namespaces.CLONE_NEWUTS: "--uts",
}
FLAGS = sum(KINDS)
# `enter` as a command line of the shell. How mounts are told to others is for the steps that follow.
COMMAND = f"unshare {' '.join(KINDS.values())} --fork --propagation unchanged"


def enter(host_name: str, announce: Callable[[int], None]) -> None:
    """Return as pid 1 of new mount, pid, ipc and uts namespaces; the calling process ends here.

    For `announce` see `fork`.
    """
    if fork(host_name, announce):
        os._exit(0)


def fork(host_name: str, announce: Callable[[int], None]) -> int:
    """fork(2) into new mount, pid, ipc and uts namespaces: 0 in their pid 1, its pid in the calling process, which can
    fork no more after that. The network namespace stays the caller's.

    `announce` is called outside, with the pid as seen there, before the new process goes on: whoever finds anything
    of the node also finds which process to end.
    """
    namespaces.unshare(FLAGS)
    told, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(tell)
        if os.read(told, 1) != b"+":
            os._exit(1)  # the announcing process was killed: nobody would find us
        os.close(told)
        socket.sethostname(host_name)
        return 0
    os.close(told)
    announce(pid)
    os.write(tell, b"+")
    os.close(tell)
    return pid


def hold_node_lock() -> socket.socket:
    """Take the one node of this network namespace, which is held as long as any process has this socket. Raises
    KinsError `node-exists`."""
    lock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        lock.bind(NODE_LOCK)
    except OSError as error:
        lock.close()
        raise KinsError(
            "this sandbox already runs a cluster with a node, or node software by `kins run`; it can carry one at a "
            "time",
            code="node-exists",
            hint="kins list; kins up NAME --level fake",
        ) from error
    return lock
