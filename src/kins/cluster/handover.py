"""From the command to the daemon: its process, and the locks that go over to it."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

from kins.cluster import store
from kins.cluster.node_namespaces import hold_node_lock
from kins.cluster.spec import WITHOUT_NODE, ClusterSpec
from kins.errors import KinsError

# How long another command may ask the sandbox, before it knows whether it will have a node.
ASKING_SECONDS = 5.0
ASKING_INTERVAL = 0.05


@contextlib.contextmanager
def node_lock(spec: ClusterSpec) -> Iterator[socket.socket | None]:
    """The lock of the one node, for what may become one. Held before the sandbox is asked: to the probes another
    cluster's network would be a lack of it. Raises KinsError `node-exists`."""
    if spec.level in WITHOUT_NODE:
        yield None
        return
    with _held_node_lock() as lock:
        yield lock


def _held_node_lock() -> socket.socket:
    """Who holds it without a node may still be asking the sandbox, and give it back: that is waited for."""
    deadline = time.monotonic() + ASKING_SECONDS
    while True:
        try:
            return hold_node_lock()
        except KinsError:
            if _has_node() or time.monotonic() > deadline:
                raise
        time.sleep(ASKING_INTERVAL)


def _has_node() -> bool:
    """Whether a cluster of this user has a node that runs."""
    layouts = [store.layout(name) for name in store.names()]
    records = [store.record(files) for files in layouts if store.supervisor(files) is not None]
    return any(record is not None and record.decisions.level == "node" for record in records)


@contextlib.contextmanager
def daemon_process(lock: int, node: socket.socket | None) -> Iterator[subprocess.Popen[bytes]]:
    """A daemon process that waits for its orders; it is ended when it gets none.

    It holds the locks as well: else, when we are killed before it has told its pid, `down` would find neither it nor a
    holder of the cluster's lock.
    """
    daemon = subprocess.Popen(
        [sys.executable, "-P", "-m", "kins.cluster.daemon"],
        pass_fds=[lock] if node is None else [lock, node.fileno()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        cwd="/",
    )
    try:
        yield daemon
    finally:
        if daemon.stdin is not None and not daemon.stdin.closed:
            daemon.kill()
            daemon.wait()
        for pipe in (daemon.stdin, daemon.stdout, daemon.stderr):
            if pipe is not None and not pipe.closed:
                pipe.close()


def failure_of(daemon: subprocess.Popen[bytes]) -> KinsError:
    """Why a daemon ended before it listened: its last words."""
    lines = daemon.stderr.read().decode(errors="replace").strip().splitlines() if daemon.stderr is not None else []
    return KinsError(
        "the supervisor did not start: " + (lines[-1] if lines else "no reason given"), code="supervisor-failed"
    )
