"""Steps that keep control groups which others will make from being left behind (cgroups(7), cgroup_namespaces(7))."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Self

import msgspec

from kins.plan.kernel import remove_groups
from kins.plan.step import NamespaceStep, Step
from kins.sys import mounts, namespaces, user_namespaces

# A process can be put into a new cpuset only when these are filled.
CPUSET = ("cpuset.cpus", "cpuset.mems")
# Where the processes of a version 2 group stay that has controllers in its children.
INIT = "init"


class Hierarchy(msgspec.Struct, frozen=True, kw_only=True):
    """A mounted hierarchy: version 1 with `controllers` as options of its mount (`cpu`, `none,name=systemd`), or
    version 2 with none."""

    mount_point: str
    controllers: str = ""

    @property
    def kind(self) -> str:
        return "cgroup" if self.controllers else "cgroup2"


class EnterControlGroups(NamespaceStep, frozen=True, kw_only=True):
    """Join the group of that name in each hierarchy, and see it as the hierarchy's root from now on.

    Groups that are made afterwards are below it, so that they go with it; see `MakeControlGroup`.
    """

    hierarchies: tuple[Hierarchy, ...]
    name: str

    def describe(self) -> str:
        places = [shlex.quote(f"{each.mount_point}/{self.name}/cgroup.procs") for each in self.hierarchies]
        joined = " && ".join(f"echo 0 > {place}" for place in places)
        seen = " && ".join(_mounting(each) for each in self.hierarchies)
        return f"{joined}  # then `unshare --cgroup`, and: {seen}"

    def execute(self) -> None:
        for each in self.hierarchies:
            _join(Path(each.mount_point), self.name)
        namespaces.unshare(namespaces.CLONE_NEWCGROUP)
        for each in self.hierarchies:
            _show(each, self.name)
            if each.kind == "cgroup2":
                _hand_down_controllers(Path(each.mount_point))


def _mounting(hierarchy: Hierarchy) -> str:
    options = f" -o {shlex.quote(hierarchy.controllers)}" if hierarchy.controllers else ""
    target = shlex.quote(hierarchy.mount_point)
    return f"umount --lazy {target} && mount -t {hierarchy.kind}{options} cgroup {target}"


def _join(hierarchy: Path, name: str) -> None:
    for file in CPUSET:
        if (hierarchy / file).exists() and not (hierarchy / name / file).read_text().strip():
            (hierarchy / name / file).write_text((hierarchy / file).read_text())
    (hierarchy / name / "cgroup.procs").write_text("0")


def _show(hierarchy: Hierarchy, group: str) -> None:
    """Let the mount be that of the group. Mounts of another user namespace cannot be taken away (mount_namespaces(7)),
    and the same file system cannot be mounted over them (EBUSY), but a part of it can be bound there."""
    try:
        mounts.unmount(hierarchy.mount_point, lazy=True)
    except OSError:
        mounts.bind(f"{hierarchy.mount_point}/{group}", hierarchy.mount_point)
    else:
        mounts.mount("cgroup", hierarchy.mount_point, hierarchy.kind, 0, hierarchy.controllers)


def _hand_down_controllers(root: Path) -> None:
    """Let groups below the root have its controllers, which version 2 allows where no process is in it."""
    controllers = (root / "cgroup.controllers").read_text().split()
    if controllers:
        (root / INIT).mkdir()
        (root / INIT / "cgroup.procs").write_text("0")
        (root / "cgroup.subtree_control").write_text(" ".join(f"+{each}" for each in controllers))


class ClearControlGroups(Step, frozen=True, kw_only=True):
    """Whatever groups are made from now on in a version 1 hierarchy that is mounted in this namespace alone.

    Its groups outlive the mount, so undoing mounts it again for a moment, over the directory above.
    """

    hierarchy: str
    controllers: str
    existing: tuple[str, ...] = ()

    def describe(self) -> str:
        return f"# at the end: remove the groups that were made below {shlex.quote(self.hierarchy)}"

    def prepare(self) -> Self | None:
        return msgspec.structs.replace(self, existing=tuple(_groups(Path(self.hierarchy))))

    def execute(self) -> None:
        """Nothing: its place in the journal is what counts."""

    def undo(self) -> None:
        user_namespaces.run_where_mounts_are_allowed(self._undo_unseen)

    def _undo_unseen(self) -> None:
        place = Path(self.hierarchy).parent
        mounts.mount("cgroup", str(place), "cgroup", 0, self.controllers)
        for name in set(_groups(place)) - set(self.existing):
            remove_groups(place / name)


def _groups(hierarchy: Path) -> list[str]:
    return sorted(entry.name for entry in os.scandir(hierarchy) if entry.is_dir())
