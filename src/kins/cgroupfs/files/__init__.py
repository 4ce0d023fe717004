"""The files of each controller, as declarations: name, what reading gives, what writing does, in which groups.

Formats and errors are those of the kernel's documentation and of its version 1 and 2 hierarchies.
"""

from __future__ import annotations

from kins.cgroupfs.control_groups import UNIFIED
from kins.cgroupfs.files import (
    blkio,
    cpu,
    cpuset,
    devices,
    membership,
    memory,
    small_controllers,
    unified,
    unified_controllers,
)
from kins.cgroupfs.files.declaration import ControlFile
from kins.cgroupfs.machine import huge_page_sizes

Files = dict[str, ControlFile]


def version_1() -> dict[str, Files]:
    """By controller and name."""
    own: dict[str, tuple[ControlFile, ...]] = {
        "cpu": cpu.CPU,
        "cpuacct": cpu.CPUACCT,
        "cpuset": cpuset.FILES,
        "memory": memory.FILES,
        "pids": small_controllers.PIDS,
        "devices": devices.FILES,
        "blkio": blkio.FILES,
        "freezer": small_controllers.FREEZER,
        "hugetlb": small_controllers.hugetlb(huge_page_sizes()),
        "perf_event": (),
        "net_cls": small_controllers.NET_CLS,
    }
    return {name: {file.name: file for file in (*membership.FILES, *files)} for name, files in own.items()}


def version_2() -> dict[str, Files]:
    """By name, below the empty name of the only hierarchy."""
    huge = unified_controllers.hugetlb(huge_page_sizes())
    own = (unified_controllers.CPU, unified_controllers.CPUSET, unified_controllers.IO, unified_controllers.MEMORY)
    files = (*unified.CORE, *(file for part in own for file in part), *unified_controllers.PIDS, *huge)
    return {UNIFIED: {file.name: file for file in files}}


def of_version(version: int) -> dict[str, Files]:
    """All files, by hierarchy and name."""
    return version_1() if version == 1 else version_2()
