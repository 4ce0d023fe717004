"""Throw-away namespaces: what is mounted, linked and started in them ends with their first process.

Run as `python -m kins.experiments.isolation COMMAND…`: a launcher makes new mount, pid, ipc, uts and network
namespaces; an init in them reaps orphans and runs the command, and the command's end is the namespaces' end. Each dies
with its parent, so that no kill -9 leaves anything running.
"""

from __future__ import annotations

import os
import signal
import sys

from kins.sys import mounts, namespaces, netlink, process

KINDS = (
    namespaces.CLONE_NEWNS
    | namespaces.CLONE_NEWPID
    | namespaces.CLONE_NEWIPC
    | namespaces.CLONE_NEWUTS
    | namespaces.CLONE_NEWNET
)
FORWARDED = (signal.SIGINT, signal.SIGTERM)


def main() -> None:
    """Be the launcher of the command that the arguments name."""
    process.set_parent_death_signal(signal.SIGKILL)
    namespaces.unshare(KINDS)
    child = os.fork()
    if child == 0:
        process.set_parent_death_signal(signal.SIGKILL)
        _be_init(sys.argv[1:])
    _forward_to(child)
    sys.exit(process.shell_status(_wait_for(child)))


def _be_init(command: list[str]) -> None:
    """Prepare the namespaces, run the command, and end with it."""
    # Cut off from the outside, and shared within, as the root of an ordinary system is.
    mounts.make_private("/", recursive=True)
    mounts.mount("proc", "/proc", "proc")
    netlink.set_up("lo")
    child = os.fork()
    if child == 0:
        process.set_parent_death_signal(signal.SIGKILL)
        os.execv(command[0], command)
    _forward_to(child)
    os._exit(process.shell_status(_wait_for(child)))


def _forward_to(child: int) -> None:
    for number in FORWARDED:
        signal.signal(number, lambda received, _: os.kill(child, received))


def _wait_for(child: int) -> int:
    """The wait status of a child; every other process that ends meanwhile is reaped."""
    while True:
        pid, status = os.wait()
        if pid == child:
            return status


if __name__ == "__main__":
    main()
