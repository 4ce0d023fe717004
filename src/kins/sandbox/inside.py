"""The probes once more, in a user namespace, where the sandbox itself carries no node with a pod network.

They ask in a network of its own, or in the sandbox's where such ones have no IP.
"""

from __future__ import annotations

import contextlib
import errno
import os
import selectors
import signal
import socket
import time
from functools import partial
from pathlib import Path
from typing import BinaryIO, Literal, Self

import msgspec

from kins.sandbox import probing
from kins.sandbox.facts import Answer, Facts
from kins.sandbox.levels import carries_best
from kins.sys import namespaces, netlink, process, user_namespaces

# Beyond what the probes themselves may take at the longest.
LIMIT_SECONDS = probing.LONGEST_SECONDS + 5.0


def probe(home: Path, *, details: bool = False) -> Facts:
    """Ask the sandbox, and where the best level does not follow from the answers also a user namespace in it. For
    `home` and `details` see `kins.sandbox.probing`."""
    # Without this capability it never does: both are asked at once, for the time of little more than one.
    surely = not process.has_capability(process.CAP_SYS_ADMIN)
    with contextlib.ExitStack() as stack:
        own_network = stack.enter_context(_Question(home, details, namespaces.CLONE_NEWNET)) if surely else None
        facts = probing.probe(home, details=details)
        if carries_best(facts):
            return facts
        own_network = own_network or stack.enter_context(_Question(home, details, namespaces.CLONE_NEWNET))
        try:
            inside, network = _answers_in_a_network(own_network, home, details)
        except OSError as error:
            return msgspec.structs.replace(facts, user_namespace=Answer(False, str(error)))
    # Nobody is in reach of another network without a relay, and the sandbox's was asked: that says nothing.
    inside = msgspec.structs.replace(inside, resolvers={})
    return msgspec.structs.replace(facts, user_namespace=Answer(True), inside=inside, network_inside=network)


def _answers_in_a_network(own_network: _Question, home: Path, details: bool) -> tuple[Facts, Literal["own", "sandbox"]]:
    """The answers, and whose network they are from. Raises OSError, as `_Question.answers`."""
    try:
        return own_network.answers(), "own"
    except OSError as error:
        if error.errno != errno.EAFNOSUPPORT:
            raise
    with _Question(home, details) as sandboxs_network:
        return sandboxs_network.answers(), "sandbox"


class _Question:
    """The probes in a process of a user namespace, begun; it has ended at the end of the block."""

    def __init__(self, home: Path, details: bool, network: int = 0) -> None:
        """`network` is CLONE_NEWNET for one of its own."""
        parent = os.getpid()
        answer, tell = os.pipe()
        self._said = open(answer, "rb", buffering=0)  # noqa: SIM115 (closed at the end of the block)
        self._refusal: OSError | None = None
        self._pid = 0  # none to wait for
        with open(tell, "wb") as telling:
            try:
                # With mounts of its own as well, into whose namespace it can come back: the node's are no others.
                pid = user_namespaces.fork(network | namespaces.CLONE_NEWNS)
            except OSError as error:
                self._refusal = error
                return
            if pid == 0:
                namespaces.end_with(partial(_tell, telling, home, details, parent, own_network=network != 0))
        self._pid = pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._said.close()
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)

    def answers(self) -> Facts:
        """Asked for once. Raises OSError where no user namespace can be had, or no network in it (EAFNOSUPPORT for one
        without IPv4), or nothing comes out of it."""
        if self._refusal is not None:
            raise self._refusal
        content = _read(self._said)
        pid, self._pid = self._pid, 0
        namespaces.wait(pid)
        return msgspec.json.decode(content, type=Facts)


def _tell(telling: BinaryIO, home: Path, details: bool, parent: int, *, own_network: bool) -> None:
    """What is done inside. Raises OSError."""
    process.die_with(parent)
    if own_network:
        # With the host's network gVisor makes networks without IPv4, in which some questions are never answered.
        socket.socket(socket.AF_INET, socket.SOCK_STREAM).close()
        netlink.set_up("lo")  # as for the node
    telling.write(msgspec.json.encode(probing.probe(home, details=details)))
    telling.close()


def _read(said: BinaryIO) -> bytes:
    """Everything up to the end. Raises TimeoutError."""
    deadline = time.monotonic() + LIMIT_SECONDS
    content = b""
    with selectors.DefaultSelector() as selector:
        selector.register(said, selectors.EVENT_READ)
        while selector.select(max(deadline - time.monotonic(), 0)):
            chunk = said.read(65536)
            if not chunk:
                return content
            content += chunk
    raise TimeoutError(f"the probes in a user namespace did not answer within {LIMIT_SECONDS:g} s")
