"""User namespaces in which a range of ids is mapped (user_namespaces(7))."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

from kins.sys import mounts, namespaces, process

# Images have files of any of these ids; each stands for the same one outside.
IDENTITIES = 65536


def fork(flags: int) -> int:
    """Like os.fork(); the child is root of a new user namespace, and in new ones of these kinds that belong to it.

    Its ids are mapped by the parent: the child itself could map no more than one. Raises OSError.
    """
    _check_right()
    said, say = os.pipe()
    told, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(said)
        os.close(tell)
        _become_root(flags, say, told)
        return 0
    os.close(say)
    os.close(told)
    try:
        _map(pid, said)
        os.write(tell, b"+")
    except OSError:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise
    finally:
        os.close(said)
        os.close(tell)
    return pid


def run_with_private_mounts(function: Callable[[], None]) -> None:
    """As that of `namespaces`, for those who may mount nothing themselves. Raises OSError."""
    pid = fork(namespaces.CLONE_NEWNS)
    if pid == 0:
        namespaces.end_with(partial(_privately, function))
    namespaces.wait(pid)


def _privately(function: Callable[[], None]) -> None:
    mounts.make_private("/", recursive=True)
    function()


def _check_right() -> None:
    """Without these the kernel maps one id, and an image with a file of another one could not be unpacked."""
    if not (process.has_capability(process.CAP_SETUID) and process.has_capability(process.CAP_SETGID)):
        raise OSError(errno.EPERM, "mapping more than one user id needs CAP_SETUID and CAP_SETGID")


def _map(pid: int, said: int) -> None:
    answer = os.read(said, 1)
    if answer != b"\0":
        number = answer[0] if answer else errno.EIO
        raise OSError(number, f"unshare: a new user namespace: {os.strerror(number)}")
    for name in ("uid_map", "gid_map"):
        Path(f"/proc/{pid}/{name}").write_text(f"0 0 {IDENTITIES}\n")


def _become_root(flags: int, say: int, told: int) -> None:
    try:
        namespaces.unshare(namespaces.CLONE_NEWUSER | flags)
    except OSError as error:
        os.write(say, bytes([error.errno or errno.EIO]))
        os._exit(1)
    os.write(say, b"\0")
    os.close(say)
    if os.read(told, 1) != b"+":
        os._exit(1)  # the parent could not map our ids, or was killed
    os.close(told)
    os.setgid(0)
    os.setuid(0)
