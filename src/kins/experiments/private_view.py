"""Runs a command that sees `cpuacct.usage_percpu` where the kernel has no such file.

Run as `python -m kins.experiments.private_view SCRATCH COMMAND…`, in a mount namespace of its own: runc must keep the
plain view, because it makes groups in cpuacct, which the view does not allow.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from kins.sys import mounts, namespaces

CPUACCT = "/sys/fs/cgroup/cpuacct"
FILES = ("cpuacct.stat", "cpuacct.usage", "cgroup.procs", "tasks")


def main() -> None:
    """Mount the view and become the command."""
    scratch, *command = sys.argv[1:]
    namespaces.unshare(namespaces.CLONE_NEWNS)
    mounts.make_private("/", recursive=True)
    Path(scratch).mkdir(exist_ok=True)
    mounts.bind(CPUACCT, scratch)
    mounts.mount("view", CPUACCT, "tmpfs", 0, "mode=0755")
    for source, name in [*((name, name) for name in FILES), ("cpuacct.usage", "cpuacct.usage_percpu")]:
        Path(CPUACCT, name).touch()
        mounts.bind(f"{scratch}/{source}", f"{CPUACCT}/{name}")
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
