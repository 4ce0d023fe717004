"""`down`: end the processes, undo the steps, forget the files."""

from __future__ import annotations

import os
import select
import signal
import time
from pathlib import Path

import msgspec

from kins import kubeconfig
from kins.cluster import home_directory, locking, store
from kins.components import Layout
from kins.errors import KinsError
from kins.plan import Journal
from kins.sandbox.probing import clear_remains
from kins.supervise import control

# An orderly stop takes a component's grace three times over at the most; then the supervisor itself is killed.
STOP_SECONDS = 20.0
KILL_SECONDS = 20.0


class Deleted(msgspec.Struct, frozen=True, kw_only=True):
    """What `down` removed."""

    name: str
    kubeconfigs: tuple[str, ...]


def delete(name: str) -> Deleted:
    """Remove a cluster completely, whatever state it is in. Raises KinsError, `no-such-cluster` where there is none."""
    store.layout(name)  # a name that can be none is refused first
    if not home_directory.path().exists():
        raise store.no_such_cluster(name)
    with locking.exclusive(name):
        # Also what is left of an `up` that was killed before it made the cluster's directory.
        clear_remains(home_directory.path())
        changed = remove(store.existing(name))
    return Deleted(name=name, kubeconfigs=tuple(str(path) for path in changed))


def remove(files: Layout) -> list[Path]:
    """Stop, undo and remove; returns the kubeconfig files that changed."""
    stop(files)
    try:
        changed = kubeconfig.remove(f"kins-{files.directory.name}")
    except Exception:
        # A kubeconfig that cannot be read is told, but keeps nothing of the cluster alive. After Ctrl-C, however, the
        # cluster must still be there: without it the next `down` would not look for the entry.
        store.forget(files)
        raise
    store.forget(files)
    return changed


def stop(files: Layout) -> None:
    """End every process of the cluster and undo its steps; its data stays."""
    supervisor, outside = store.supervisor(files), store.outside(files)
    if supervisor is not None:
        _end(files, supervisor)
    if outside is not None:
        # It is about to end by itself, because the node has.
        _kill(outside, "the node's process outside of its namespaces")
    Journal(files.journal).undo()
    files.supervisor.unlink(missing_ok=True)
    files.outside.unlink(missing_ok=True)


def _end(files: Layout, supervisor: store.ProcessRecord) -> None:
    try:
        for _ in control.ask(files.control_socket, "stop", STOP_SECONDS):
            pass
    except KinsError:
        # It does not listen (it is booting, or hangs): pid 1 of a namespace still gets SIGTERM when it handles it.
        _signal(supervisor, signal.SIGTERM)
    if not _gone(supervisor, STOP_SECONDS):
        _kill(supervisor, "the supervisor")


def _kill(found: store.ProcessRecord, what: str) -> None:
    _signal(found, signal.SIGKILL)
    if not _gone(found, KILL_SECONDS):
        raise KinsError(f"{what} (pid {found.pid}) does not end", code="supervisor-stuck", hint=f"kill -9 {found.pid}")


def _signal(found: store.ProcessRecord, number: signal.Signals) -> None:
    if found.is_alive():
        try:
            os.kill(found.pid, number)
        except ProcessLookupError:
            return


def _gone(found: store.ProcessRecord, timeout: float) -> bool:
    """Wait until the process is dead; with it dies its pid namespace, which the kernel empties first."""
    deadline = time.monotonic() + timeout
    while found.is_alive():
        if time.monotonic() > deadline:
            return False
        _wait_for_exit(found.pid, deadline - time.monotonic())
    return True


def _wait_for_exit(pid: int, timeout: float) -> None:
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        # gone already, or a sandbox without pidfd_open(2): look again soon
        time.sleep(0.02)
        return
    try:
        select.select([descriptor], [], [], max(timeout, 0))
    finally:
        os.close(descriptor)
