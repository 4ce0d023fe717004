"""Steps on kernel settings that outlive every namespace of the node: sysctls, control groups, links, addresses."""

from __future__ import annotations

import errno
import os
import shlex
import signal
from pathlib import Path
from typing import Self

import msgspec

from kins.plan.step import Scope, Step
from kins.sys import mounts, namespaces, netlink, user_namespaces


class SetSysctl(Step, frozen=True, kw_only=True):
    """A value below /proc/sys; `name` is its path there, e.g. `net/ipv4/ip_forward`.

    Another value that somebody sets later is theirs and stays, unless `always`: then whatever is there is taken back.
    """

    name: str
    value: str
    previous: str = ""
    always: bool = False

    @property
    def path(self) -> Path:
        return Path("/proc/sys", self.name)

    @property
    def scope(self) -> Scope:
        """Each network namespace has its own below net (namespaces(7))."""
        return "network" if self.name.startswith("net/") else "kernel"

    def describe(self) -> str:
        return f"echo {shlex.quote(self.value)} > {self.path}"

    def note(self) -> str:
        return f"note_value {self.path} {shlex.quote(self.value)}"

    def prepare(self) -> Self | None:
        previous = self.path.read_text().strip()
        return None if previous == self.value and not self.always else msgspec.structs.replace(self, previous=previous)

    def execute(self) -> None:
        self._write(self.value)

    def undo(self) -> None:
        if self.path.exists() and (self.always or self.path.read_text().strip() == self.value):
            self._write(self.previous)

    def _write(self, value: str) -> None:
        try:
            self.path.write_text(value)
        except OSError as error:
            if error.errno != errno.EROFS:
                raise
            namespaces.run_with_private_mounts(lambda: self._write_in_new_proc(value))

    def _write_in_new_proc(self, value: str) -> None:
        """Containers often have /proc/sys mounted read-only; another procfs is not, where one may be mounted."""
        mounts.mount("proc", "/proc", "proc")
        self.path.write_text(value)


class MakeControlGroup(Step, frozen=True, kw_only=True):
    """A control group directory (cgroups(7)); undoing ends what still runs in it and removes its children as well.

    `controllers` are those of a version 1 hierarchy that is mounted in the node's namespace alone. Its groups outlive
    the mount, so undoing mounts it again for a moment.
    """

    path: str
    controllers: str = ""

    @property
    def scope(self) -> Scope:
        return "kernel"

    def describe(self) -> str:
        return f"mkdir -p {shlex.quote(self.path)}"

    def note(self) -> str:
        return f"note_groups {shlex.quote(self.path)} {self.controllers}".rstrip()

    def execute(self) -> None:
        Path(self.path).mkdir(exist_ok=True)

    def undo(self) -> None:
        if self.controllers:
            user_namespaces.run_where_mounts_are_allowed(self._undo_unseen)
        else:
            remove_groups(Path(self.path))

    def _undo_unseen(self) -> None:
        group = Path(self.path)
        hierarchy = str(group.parent.parent)
        mounts.mount("cgroup", hierarchy, "cgroup", 0, self.controllers)
        remove_groups(Path(hierarchy, group.name))


def remove_groups(top: Path) -> None:
    """End what runs in a control group and below it, and remove them all."""
    for directory, _, _ in os.walk(top, topdown=False):
        _remove_group(Path(directory))


def _remove_group(group: Path) -> None:
    try:
        for pid in (group / "cgroup.procs").read_text().split():
            os.kill(int(pid), signal.SIGKILL)
    except (FileNotFoundError, ProcessLookupError):
        pass
    try:
        group.rmdir()
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise


class AddBridge(Step, frozen=True, kw_only=True):
    """A bridge in the sandbox's network namespace that carries the node's address, e.g. `10.42.0.1/16`."""

    name: str
    address: str

    @property
    def scope(self) -> Scope:
        return "network"

    def describe(self) -> str:
        name = shlex.quote(self.name)
        return f"ip link add {name} type bridge && ip addr add {self.address} dev {name} && ip link set {name} up"

    def note(self) -> str:
        return f"note_link {shlex.quote(self.name)}"

    def prepare(self) -> Self | None:
        # Refused before it is journalled: undoing must never delete a link that somebody else made.
        if netlink.link_exists(self.name):
            raise FileExistsError(errno.EEXIST, "a link of that name exists already", self.name)
        return self

    def execute(self) -> None:
        netlink.create_bridge(self.name)
        netlink.add_address(self.name, self.address)
        netlink.set_up(self.name)

    def undo(self) -> None:
        if netlink.link_exists(self.name):
            netlink.delete_link(self.name)


class AddAddress(Step, frozen=True, kw_only=True):
    """An address on a link that is there already. On loopback its whole range is local then, for pods as well: whoever
    binds an address of it is reached there."""

    link: str
    address: str

    @property
    def scope(self) -> Scope:
        return "network"

    def describe(self) -> str:
        return f"ip addr add {self.address} dev {shlex.quote(self.link)}"

    def note(self) -> str:
        return f"note_address {self.address} {shlex.quote(self.link)}"

    def prepare(self) -> Self | None:
        # Refused before it is journalled: undoing must never take an address that somebody else gave.
        if self._is_there():
            raise FileExistsError(errno.EEXIST, "the sandbox has this address already", self.address)
        return self

    def execute(self) -> None:
        netlink.add_address(self.link, self.address)

    def undo(self) -> None:
        if self._is_there():
            netlink.delete_address(self.link, self.address)

    def _is_there(self) -> bool:
        return self.address in netlink.addresses()
