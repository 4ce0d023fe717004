"""What /proc would say if the control groups were the kernel's: /proc/PID/cgroup, /proc/PID/mountinfo, /proc/cgroups.

A tracer redirects readers to these files below `.kins` in the mount; see `rules`. The hidden directory is in no
listing, because whoever looks for control groups takes the first entry for one (github.com/opencontainers/cgroups).
"""

from __future__ import annotations

import re
from pathlib import Path

from kins.cgroupfs.control_groups import CONTROLLERS_V1, CONTROLLERS_V2, UNIFIED, ControlGroups
from kins.sys import mounts

HIDDEN = ".kins"
# Above any identity that the kernel gives to a mount of ours.
FIRST_IDENTITY = 900_000
FIRST_DEVICE = 900_000
MOUNT_LINE = re.compile(
    r"(?P<identity>\d+) (?P<parent>\d+) (?P<device>\S+) (?P<root>\S+) (?P<point>\S+) (?P<options>\S+)"
    r"(?P<optional>(?: \S+)*?) - (?P<kind>\S+) (?P<source>\S+) (?P<super>\S+)"
)


def rules(mount: str, version: int) -> list[dict[str, object]]:
    """The rules for a tracer that make readers take the mount for the kernel's own; the first that matches counts."""
    hidden = f"{mount}/{HIDDEN}"
    redirects = [
        {"from": "/proc/*/cgroup", "to": f"{hidden}/processes/*/cgroup"},
        {"from": "/proc/*/mountinfo", "to": f"{hidden}/processes/*/mountinfo"},
        {"from": "/proc/*/mounts", "to": f"{hidden}/processes/*/mounts"},
        {"from": "/proc/cgroups", "to": f"{hidden}/cgroups"},
    ]
    types: list[dict[str, object]] = [{"path": mount, "type": mounts.CGROUP_V2}]
    if version == 1:
        types = [{"path": f"{mount}/{name}", "type": mounts.CGROUP_V1} for name in CONTROLLERS_V1]
        types.append({"path": mount, "type": mounts.TMPFS})
    found: list[dict[str, object]] = [{"redirect": each} for each in redirects]
    return found + [{"statfs": each} for each in types]


def process_groups(groups: ControlGroups, pid: int) -> str | None:
    """/proc/PID/cgroup (cgroups(7)): `NUMBER:controllers:path` lines; None if there is no such process."""
    process = groups.tracker.process(pid)
    if process is None:
        return None
    if groups.version == 2:
        return f"0::{process.groups[UNIFIED].path}\n"
    lines = (f"{number}:{name}:{process.groups[name].path}\n" for number, name in enumerate(CONTROLLERS_V1, 1))
    return "".join(reversed(list(lines)))


def controllers(groups: ControlGroups) -> str:
    """/proc/cgroups (cgroups(7))."""
    lines = ["#subsys_name\thierarchy\tnum_cgroups\tenabled\n"]
    for number, name in enumerate(CONTROLLERS_V1 if groups.version == 1 else CONTROLLERS_V2, 1):
        hierarchy = groups.hierarchies[name if groups.version == 1 else UNIFIED]
        count = sum(1 for _ in hierarchy.root.subtree())
        lines.append(f"{name}\t{number if groups.version == 1 else 0}\t{count}\t1\n")
    return "".join(lines)


def process_mounts(version: int, pid: int, device: str) -> str | None:
    """/proc/PID/mountinfo with the kernel's control groups in the place of our mount, whose device number is given."""
    try:
        text = Path(f"/proc/{pid}/mountinfo").read_text()
    except OSError:
        return None
    return as_if_mounted(version, text.splitlines(), device)


def mount_table(mountinfo: str) -> str:
    """/proc/PID/mounts (fstab(5)) from the same process's mountinfo."""
    matches = (MOUNT_LINE.fullmatch(line) for line in mountinfo.splitlines())
    return "".join(
        f"{line['source']} {line['point']} {line['kind']} {','.join(dict.fromkeys(_options(line)))} 0 0\n"
        for line in matches
        if line is not None
    )


def _options(line: re.Match[str]) -> list[str]:
    return [*line["options"].split(","), *line["super"].split(",")]


def as_if_mounted(version: int, lines: list[str], device: str) -> str:
    """The same for lines; control groups of the kernel that our mount covers are left out."""
    matches = [MOUNT_LINE.fullmatch(line) for line in lines]
    ours = {match["point"] for match in matches if match is not None and match["device"] == device}
    found: list[str] = []
    for line, match in zip(lines, matches, strict=True):
        if match is not None and match["device"] == device:
            found += as_the_kernels(version, match, FIRST_IDENTITY + len(found))
        elif match is None or not is_covered(match, ours):
            found.append(line)
    return "".join(f"{line}\n" for line in found)


def is_covered(line: re.Match[str], ours: set[str]) -> bool:
    """Whether a line is one of the kernel's control groups, or of their directory, at or below one of our mounts."""
    point = line["point"]
    below = any(point.startswith(f"{mount}/") for mount in ours) and line["kind"] in ("cgroup", "cgroup2")
    return below or point in ours


def as_the_kernels(version: int, line: re.Match[str], identity: int) -> list[str]:
    """What the kernel would say in the place of a line; a directory that is bound elsewhere is a line of its own."""
    common = f"{line['options']}{line['optional']} -"
    begin = f"{line['identity']} {line['parent']}"
    if version == 2:
        return [f"{begin} 0:{FIRST_DEVICE} {line['root']} {line['point']} {common} cgroup2 cgroup2 rw"]
    if line["root"] != "/":
        controller, _, path = line["root"].strip("/").partition("/")
        if controller not in CONTROLLERS_V1:
            return [line[0]]
        place = f"{begin} {device_of(controller)} /{path} {line['point']}"
        return [f"{place} {common} cgroup cgroup rw,{controller}"]
    found = [f"{begin} 0:{FIRST_DEVICE} / {line['point']} {common} tmpfs tmpfs rw,mode=755"]
    for number, name in enumerate(CONTROLLERS_V1):
        place = f"{identity + number} {line['identity']} {device_of(name)} / {line['point']}/{name}"
        found.append(f"{place} {common} cgroup cgroup rw,{name}")
    return found


def device_of(controller: str) -> str:
    """The device number that stands for a hierarchy."""
    return f"0:{FIRST_DEVICE + 1 + CONTROLLERS_V1.index(controller)}"
