"""Programs of the sandbox that node software calls."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from kins.sandbox.probes.places import private_mounts
from kins.sandbox.probes.table import Values
from kins.sys import mounts

SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# What the kubelet calls.
PROGRAMS = ("mount", "umount")
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
# How the kubelet mounts a volume's sub-path (k8s.io/kubernetes, pkg/volume/util/subpath). busybox has no such option.
# With -n, or util-linux makes the sandbox a directory for its own table, /run/mount.
SUB_PATH_MOUNT = ("mount", "-n", "--no-canonicalize", "-t", "tmpfs", "probe")
# What kins does without, and others' node software may not.
OTHERS = (
    "containerd",
    "dockerd",
    "fuse-overlayfs",
    "fusermount3",
    "ip",
    "iptables",
    "iptables-legacy",
    "kubectl",
    "newgidmap",
    "newuidmap",
    "nft",
    "nsenter",
    "openssl",
    "runc",
    "slirp4netns",
    "sudo",
    "systemctl",
)


def found_program(name: str) -> str | None:
    """The path of a program of the sandbox."""
    return shutil.which(name, path=SEARCH_PATH)


def programs(scratch: Path) -> dict[str, bool]:
    """Whether the programs are there that the kubelet calls, and, where it can be tried, understand what it says."""
    found = {name: shutil.which(name, path=PATH) is not None for name in PROGRAMS}
    try:
        private_mounts()
    except OSError:
        return found
    return found | {"mount": found["mount"] and _mounts(scratch)}


def _mounts(scratch: Path) -> bool:
    command = [*SUB_PATH_MOUNT, str(scratch)]
    if Path("/run").is_dir():
        # util-linux keeps a table of its own in /run/mount, and makes that directory.
        mounts.mount("probe", "/run", "tmpfs")
    done = subprocess.run(command, env={"PATH": PATH}, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    return done.returncode == 0


def other_programs(_: Path) -> dict[str, bool]:
    """Whether others are there."""
    return {name: found_program(name) is not None for name in OTHERS}


VALUES: Values = {"programs": (programs, {}), "other_programs": (other_programs, {})}
