"""The server of emulated control groups (`kins.cgroupfs`)."""

from __future__ import annotations

import json
import sys

import msgspec

from kins.components.environment import component_environment, python_environment
from kins.components.layout import ENGINE, Layout
from kins.components.settings import Settings
from kins.supervise import Component

# Where upstream's software looks for them.
CONTROL_GROUPS = "/sys/fs/cgroup"
# In version 2 runc loads a program for a group's devices (bpf(2)), which no file system can take.
VERSION = 1


def cgroupfs(layout: Layout, settings: Settings) -> Component:
    """Control groups as a file system at the usual place; it enforces memory limits and tells containerd of each kill.

    Ready, by sd_notify(3), means that it is mounted. It is stopped last: containerd reads groups until its own end.
    """
    tell = [str(ENGINE), "oom", "--address", str(layout.containerd_socket)]
    return Component(
        name="cgroupfs",
        argv=(
            sys.executable,
            "-P",
            "-m",
            "kins.cgroupfs",
            f"--mount={CONTROL_GROUPS}",
            f"--state={layout.control_groups_state}",
            f"--version={VERSION}",
            "--enforce-memory",
            f"--on-kill={json.dumps(tell)}",
            *settings.extra("cgroupfs"),
        ),
        environment=component_environment(layout.directory) | python_environment(),
        log=layout.log("cgroupfs"),
        readiness="notify",
        stop_rank=3,
    )


def needing_control_groups(kubelet: Component) -> Component:
    """The kubelet beside this server. Without one it takes each pod's group for removed, and kills the pod
    (`podContainerManager.Exists` in pkg/kubelet/cm); and it keeps the root of the mount that it has found first
    (github.com/opencontainers/cgroups), which is dead with the server."""
    return msgspec.structs.replace(kubelet, binds_to="cgroupfs")
