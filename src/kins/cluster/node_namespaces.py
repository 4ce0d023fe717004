"""The namespaces that a node lives in: their end takes its processes and mounts with it."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable

from kins.sys import namespaces

FLAGS = namespaces.CLONE_NEWNS | namespaces.CLONE_NEWPID | namespaces.CLONE_NEWIPC | namespaces.CLONE_NEWUTS


def enter(host_name: str, announce: Callable[[int], None]) -> None:
    """Return as pid 1 of new mount, pid, ipc and uts namespaces; the calling process ends here.

    `announce` is called outside, with the pid as seen there, before the new process goes on: whoever finds anything
    of the node also finds which process to end. The network namespace stays the caller's.
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
        return
    announce(pid)
    os.write(tell, b"+")
    os._exit(0)
