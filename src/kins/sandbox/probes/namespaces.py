"""Namespaces of one's own, and a root of one's own in them."""

from __future__ import annotations

import errno
import os
from functools import partial
from pathlib import Path

from kins.sandbox.probes.places import private_mounts, tmpfs
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


def one_namespace(kind: int, name: str, _: Path) -> None:
    """A new namespace of one kind, which must be another one: gVisor of 2022 makes none, and says that it has."""
    link = f"/proc/self/ns/{name}"
    before = os.readlink(link)
    namespaces.unshare(kind)
    if os.readlink(link) == before:
        raise OSError(errno.EINVAL, f"unshare: nothing changed: {link}")


def pid_namespace(_: Path) -> None:
    """A new pid namespace, whose first process is number 1."""
    namespaces.unshare(namespaces.CLONE_NEWPID)
    child = os.fork()
    if child == 0:
        os._exit(0 if os.getpid() == 1 else 1)
    if os.waitpid(child, 0)[1] != 0:
        raise OSError(errno.EINVAL, "unshare: the next process is not the first one of a new pid namespace")


def entering_namespaces(_: Path) -> None:
    """Back into the mount namespace that was left, as whoever executes something in a container goes into its own."""
    left = os.open("/proc/self/ns/mnt", os.O_RDONLY)
    namespaces.unshare(namespaces.CLONE_NEWNS)
    namespaces.setns(left, namespaces.CLONE_NEWNS)


def pivot_root(scratch: Path) -> None:
    """Another root, the old one thrown away, as runc does it (libcontainer/rootfs_linux.go, pivotRoot)."""
    private_mounts()
    os.chdir(tmpfs(scratch))
    namespaces.pivot_root(".", ".")
    mounts.unmount(".", lazy=True)


ANSWERS: Answers = {
    "namespaces": private_namespaces,
    "mount_namespace": partial(one_namespace, namespaces.CLONE_NEWNS, "mnt"),
    "pid_namespace": pid_namespace,
    "network_namespace": partial(one_namespace, namespaces.CLONE_NEWNET, "net"),
    "ipc_namespace": partial(one_namespace, namespaces.CLONE_NEWIPC, "ipc"),
    "uts_namespace": partial(one_namespace, namespaces.CLONE_NEWUTS, "uts"),
    "entering_namespaces": entering_namespaces,
    "pivot_root": pivot_root,
}
