"""`stop`: an orderly end that leaves a cluster's data, so that `start` brings the same cluster back."""

from __future__ import annotations

import contextlib
from typing import Literal

import msgspec

from kins.cluster import deletion, locking, store
from kins.components import Layout
from kins.components.environment import component_environment
from kins.components.layout import ENGINE
from kins.errors import KinsError
from kins.supervise import Supervisor, control
from kins.sys.files import sync_file_system

# What a container gets at the most to end by itself: the terminationGracePeriodSeconds of a pod that says nothing.
GRACE_SECONDS = 30
# The containers' grace, and what the runtime may take beyond it.
HALT_SECONDS = GRACE_SECONDS + 30.0


class Stopped(msgspec.Struct, frozen=True, kw_only=True):
    """What `stop` did."""

    name: str
    outcome: Literal["stopped", "already-stopped"]


def stop(name: str) -> Stopped:
    """Stop a cluster in whatever state it is; what a crashed one left in the sandbox is cleared. Raises KinsError."""
    files = store.existing(name)
    with locking.exclusive(name):
        if store.record(files) is None:
            raise KinsError(f"cluster {name!r} was not completely made", code="not-running", hint=f"kins down {name}")
        again = files.stopped.exists() and store.supervisor(files) is None
        if store.supervisor(files) is not None:
            _halt(files)
        # Also after an earlier stop: it may have been interrupted before the last steps were undone.
        deletion.stop(files)
        # etcd does not (ADR 0003), and whoever stops a cluster may be about to save or switch off the machine.
        sync_file_system(files.directory)
        files.stopped.touch()
    return Stopped(name=name, outcome="already-stopped" if again else "stopped")


def _halt(files: Layout) -> None:
    """Ask for an orderly end. A supervisor that does not answer is ended by `deletion.stop` all the same."""
    with contextlib.suppress(KinsError):
        for _ in control.ask(files.control_socket, "halt", HALT_SECONDS):
            pass


def finish(files: Layout) -> bool:
    """Bring an end that was begun to its end, as of an interrupted `stop`: containers keep their grace. Whether there
    was one. Raises KinsError."""
    try:
        begun = any(control.ask(files.control_socket, "stopped", HALT_SECONDS))
    except KinsError:
        return False  # it is about to listen, or has ended
    if begun:
        deletion.stop(files)
    return begun


async def end_containers(supervisor: Supervisor, files: Layout) -> None:
    """In the daemon: end the kubelet, which would start them again, then all containers as their pods ask for it.

    What cannot be ended so ends with the node's namespaces.
    """
    await supervisor.end("kubelet")
    runtime = supervisor.process("containerd")
    if runtime is None or not runtime.ready:
        return  # the cluster is still coming up, or the runtime has just died
    argv = [str(ENGINE), "pods", "stop", "--address", str(files.containerd_socket), "--grace", f"{GRACE_SECONDS}s"]
    await supervisor.run_job(argv, component_environment(files.directory), files.log("pods"))
