"""Programs of the sandbox that the node's software calls."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from kins.sandbox.probes.places import private_mounts
from kins.sandbox.probes.table import Values

PROGRAMS = ("mount", "umount")
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
# How the kubelet mounts a volume's sub-path (k8s.io/kubernetes, pkg/volume/util/subpath). busybox has no such option.
SUB_PATH_MOUNT = ("mount", "--no-canonicalize", "-t", "tmpfs", "probe")


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
    done = subprocess.run(command, env={"PATH": PATH}, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    return done.returncode == 0


VALUES: Values = {"programs": (programs, {})}
