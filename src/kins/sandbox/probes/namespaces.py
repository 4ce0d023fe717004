"""Namespaces of one's own."""

from __future__ import annotations

import os
from pathlib import Path

from kins.sandbox.probes.table import Answers
from kins.sys import mounts, namespaces


def private_namespaces(_: Path) -> None:
    """Become, in a child, the first process of the node's namespaces, and mount its /proc."""
    kinds = namespaces.CLONE_NEWNS | namespaces.CLONE_NEWPID | namespaces.CLONE_NEWIPC | namespaces.CLONE_NEWUTS
    namespaces.unshare(kinds)
    mounts.make_private("/", recursive=True)
    child = os.fork()
    if child == 0:
        # What fails here is told by the exit status: there is no second pipe.
        try:
            mounts.mount("proc", "/proc", "proc")
        except OSError as error:
            os._exit(error.errno or 1)
        os._exit(0 if os.getpid() == 1 else 1)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code:
        raise OSError(code, f"mounting /proc in a new pid namespace: {os.strerror(abs(code))}")


ANSWERS: Answers = {"namespaces": private_namespaces}
