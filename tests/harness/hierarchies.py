"""Control-group hierarchies of this machine, version 1 and 2, and a branch of each for one environment.

A branch with a cgroup namespace at its top looks like a hierarchy of its own: two clusters that call their groups the
same do not meet there, and what they leave is known.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shlex
import time
from dataclasses import dataclass, replace
from pathlib import Path

MOUNT_POINT = Path("/sys/fs/cgroup")

# Options of a mount that are not the name of a version 1 hierarchy or of its controllers.
OTHER_OPTIONS = frozenset({"rw", "ro", "clone_children", "noprefix", "xattr", "release_agent"})


@dataclass(frozen=True)
class Hierarchy:
    """A mounted hierarchy, and the directory in it that is used."""

    mount_point: Path
    version: int
    options: str
    directory: Path

    def branch(self, name: str) -> Hierarchy:
        """The same hierarchy, with a directory of that name."""
        return replace(self, directory=self.mount_point / name)

    def make(self) -> None:
        """Make the directory, able to take processes."""
        if self.version == 2:
            self.delegate()
        self.directory.mkdir()
        # A new cpuset of version 1 is empty, and no process can be put into it.
        for name in ("cpuset.cpus", "cpuset.mems"):
            if self.version == 1 and (self.mount_point / name).exists():
                (self.directory / name).write_text((self.mount_point / name).read_text())

    def delegate(self) -> None:
        """Let the branches of a version 2 hierarchy have every controller that can be given to them."""
        for controller in (self.mount_point / "cgroup.controllers").read_text().split():
            with contextlib.suppress(OSError):
                (self.mount_point / "cgroup.subtree_control").write_text(f"+{controller}")

    def mount_commands(self) -> list[str]:
        """Shell commands that mount it where it is mounted now, below the working directory, in a cgroup namespace."""
        target = shlex.quote(f"./{str(self.mount_point).lstrip('/')}")
        if self.version == 2:
            mount = f"mount -t cgroup2 cgroup2 {target}"
        else:
            mount = f"mount -t cgroup -o {shlex.quote(self.options)} cgroup {target}"
        if self.mount_point == MOUNT_POINT:
            return [mount]
        above = f"./{str(MOUNT_POINT).lstrip('/')}"
        return [f"mountpoint -q {above} || mount -t tmpfs -o mode=755 tmpfs {above}", f"mkdir -p {target}", mount]

    def remove(self, deadline: float) -> None:
        """Remove the directory and all below it. A group stays busy until the last of its processes is quite gone."""
        while True:
            for directory, _, _ in os.walk(self.directory, topdown=False):
                try:
                    os.rmdir(directory)
                except OSError as error:
                    if error.errno not in (errno.EBUSY, errno.ENOENT) or time.monotonic() > deadline:
                        raise
            if not self.directory.exists():
                return
            time.sleep(0.02)


def hierarchies() -> list[Hierarchy]:
    """What is mounted at /sys/fs/cgroup and below it, in the order of the mounts (proc_pid_mountinfo(5))."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        mount, _, source = line.partition(" - ")
        point, kind, options = Path(mount.split()[4]), source.split()[0], source.split()[2].split(",")
        if kind in ("cgroup", "cgroup2") and point.is_relative_to(MOUNT_POINT):
            named = [option for option in options if option.partition("=")[0] not in OTHER_OPTIONS]
            # A hierarchy without controllers has a name, and must be told so.
            none = ["none"] if any(option.startswith("name=") for option in named) and len(named) == 1 else []
            found.append(Hierarchy(point, 2 if kind == "cgroup2" else 1, ",".join([*none, *named]), point))
    return found
