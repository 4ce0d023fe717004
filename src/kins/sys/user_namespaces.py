"""User namespaces (user_namespaces(7)): with a range of ids for whoever may map one, else with one's own id alone."""

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
# As the kernel's own user namespace maps them.
ALL_IDENTITIES = 2**32 - 1


def identities() -> int:
    """How many user ids this process's namespace maps, or group ids if they are fewer. All where the kernel does not
    say."""
    return min(map(_mapped, (Path("/proc/self/uid_map"), Path("/proc/self/gid_map"))))


def _mapped(table: Path) -> int:
    try:
        return sum(int(line.split()[2]) for line in table.read_text().splitlines())
    except OSError:
        return ALL_IDENTITIES


def fork(flags: int) -> int:
    """Like os.fork(); the child is root of a new user namespace, and in new ones of these kinds that belong to it.

    Its ids are mapped by the parent: the child itself could map no more than one. Raises OSError.
    """
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


def run(function: Callable[[], None], flags: int = 0) -> None:
    """Run a function in a child process that is root of a user namespace of its own. Raises OSError."""
    pid = fork(flags)
    if pid == 0:
        namespaces.end_with(function)
    namespaces.wait(pid)


def run_with_private_mounts(function: Callable[[], None]) -> None:
    """As that of `namespaces`, for those who may mount nothing themselves. Raises OSError."""
    run(partial(_privately, function), namespaces.CLONE_NEWNS)


def run_where_mounts_are_allowed(function: Callable[[], None]) -> None:
    """Run a function in a child process with mounts of its own: in our own user namespace, or where that gives no right
    to them in a new one. Raises OSError."""
    try:
        namespaces.run_with_private_mounts(function)
    except PermissionError:
        run_with_private_mounts(function)


def _privately(function: Callable[[], None]) -> None:
    mounts.make_private("/", recursive=True)
    function()


def _map(pid: int, said: int) -> None:
    answer = os.read(said, 1)
    if answer != b"\0":
        number = answer[0] if answer else errno.EIO
        raise OSError(number, f"unshare: a new user namespace: {os.strerror(number)}")
    told = Path(f"/proc/{pid}")
    if process.has_capability(process.CAP_SETUID) and process.has_capability(process.CAP_SETGID):
        users = groups = f"0 0 {IDENTITIES}\n"
    else:
        # The kernel lets us map our own id, and the group only with setgroups(2) given up.
        (told / "setgroups").write_text("deny")
        users, groups = f"0 {os.geteuid()} 1\n", f"0 {os.getegid()} 1\n"
    (told / "uid_map").write_text(users)
    (told / "gid_map").write_text(groups)


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
