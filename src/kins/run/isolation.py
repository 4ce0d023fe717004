"""Where the environment's namespaces can be made: in the sandbox itself, else in a user namespace of its own."""

from __future__ import annotations

import os
import socket
from typing import Literal

import msgspec

from kins.cluster import node_namespaces
from kins.errors import KinsError
from kins.sandbox import Facts
from kins.sandbox.levels import NEEDS, in_user_namespace
from kins.sys import namespaces, netlink, process, user_namespaces

Isolation = Literal["sandbox", "user-namespace"]
# Without these there is no environment; what else is missing is the command's own matter.
NEEDED = ("namespaces", "mounts")


class Grounds(msgspec.Struct, frozen=True, kw_only=True):
    """Where the environment is made, and the kernel's answers there. With `relayed` it has a network of its own, which
    only a relay joins to the sandbox's."""

    isolation: Isolation
    facts: Facts
    relayed: bool = False


def choose(facts: Facts) -> Grounds:
    """The sandbox itself where it allows the namespaces and mounts, else a user namespace. Raises KinsError
    `run-unavailable` where neither can be had."""
    lacking = _lacking(facts)
    if lacking is None:
        return Grounds(isolation="sandbox", facts=facts)
    inner = in_user_namespace(facts)
    if inner is not None and _lacking(inner) is None:
        # In the sandbox's network a pod with hostNetwork could not be made either: it takes rights to that network.
        relayed = facts.network_inside == "own" and inner.pod_network.works and inner.tun.works
        return Grounds(isolation="user-namespace", facts=inner, relayed=relayed)
    consequence, hint = NEEDS[lacking]
    raise KinsError(
        f"this sandbox cannot be prepared for node software: {lacking}: {getattr(facts, lacking).cause}; {consequence}",
        code="run-unavailable",
        hint=hint,
    )


def _lacking(facts: Facts) -> str | None:
    return next((name for name in NEEDED if not getattr(facts, name).works), None)


def fork(grounds: Grounds) -> int:
    """Like os.fork(), once in a process: 0 in pid 1 of the new namespaces, and in the calling process
    the pid of one that ends as that one does, when everything in there has ended. Raises OSError."""
    if grounds.isolation == "sandbox":
        return node_namespaces.fork(socket.gethostname(), lambda _: None)
    parent = os.getpid()
    network = namespaces.CLONE_NEWNET if grounds.relayed else 0
    between = user_namespaces.fork(node_namespaces.FLAGS | network)
    if between:
        return between
    process.die_with(parent)
    pid = os.fork()
    if pid:
        os._exit(exit_status(pid))
    if grounds.relayed:
        netlink.set_up("lo")
    return 0


def exit_status(pid: int) -> int:
    """Of a child, when it has ended."""
    return process.shell_status(os.waitpid(pid, 0)[1])
