"""Steps that mount inside the node's own mount namespace (mount(2), mount_namespaces(7))."""

from __future__ import annotations

import os
import shlex
import stat
from pathlib import Path
from typing import Literal

from kins.plan.step import NamespaceStep
from kins.sys import mounts


class MountFileSystem(NamespaceStep, frozen=True, kw_only=True):
    """A new file system on `target`, an existing directory."""

    target: str
    kind: str
    source: str = "kins"
    options: str = ""
    private: bool = False

    def describe(self) -> str:
        options = f" -o {shlex.quote(self.options)}" if self.options else ""
        line = f"mount -t {self.kind}{options} {shlex.quote(self.source)} {shlex.quote(self.target)}"
        return f"{line} && mount --make-private {shlex.quote(self.target)}" if self.private else line

    def execute(self) -> None:
        mounts.mount(self.source, self.target, self.kind, 0, self.options)
        if self.private:
            mounts.make_private(self.target)


class BindMount(NamespaceStep, frozen=True, kw_only=True):
    """`source` seen at `target` as well; both exist and are of one kind (directory or file).

    Made private: the bind of a shared mount is a peer of it, and gVisor answers EBUSY to any plain umount of a mount
    whose parent has a peer. Pods then hang in Terminating for ever.
    """

    source: str
    target: str

    def describe(self) -> str:
        target = shlex.quote(self.target)
        return f"mount --bind {shlex.quote(self.source)} {target} && mount --make-private {target}"

    def execute(self) -> None:
        mounts.bind(self.source, self.target)
        mounts.make_private(self.target)


class CoverDirectory(NamespaceStep, frozen=True, kw_only=True):
    """A writable `target` for who may not write to it: a tmpfs with everything in it that was there, at this moment.

    What was there is seen at `original` too, an existing directory. Mounts of another user namespace cannot be taken
    apart (mount_namespaces(7)), so that binds take along what is mounted below.
    """

    target: str
    original: str

    def describe(self) -> str:
        return f"cover {shlex.quote(self.target)} {shlex.quote(self.original)}"

    def execute(self) -> None:
        mode = stat.S_IMODE(os.stat(self.target).st_mode)
        mounts.bind(self.target, self.original, recursive=True)
        mounts.make_private(self.original, recursive=True)
        mounts.mount("kins", self.target, "tmpfs", 0, f"mode={mode:04o}")
        mounts.make_private(self.target)
        with os.scandir(self.original) as entries:
            for entry in entries:
                _bind_entry(entry, Path(self.target, entry.name))


def _bind_entry(entry: os.DirEntry[str], place: Path) -> None:
    if entry.is_symlink():
        place.symlink_to(os.readlink(entry.path))
    elif entry.is_dir():
        place.mkdir()
        mounts.bind(entry.path, str(place), recursive=True)
    else:
        place.touch()
        mounts.bind(entry.path, str(place))


class Unmount(NamespaceStep, frozen=True, kw_only=True):
    """Take a mount away with all below it, however its mounts are told to others (see `BindMount`)."""

    target: str

    def describe(self) -> str:
        return f"umount --lazy {shlex.quote(self.target)}"

    def execute(self) -> None:
        mounts.unmount(self.target, lazy=True)


class SetPropagation(NamespaceStep, frozen=True, kw_only=True):
    """How mounts below `target` are told to other namespaces and to binds of it, recursively."""

    target: str
    mode: Literal["private", "shared"]

    def describe(self) -> str:
        return f"mount --make-r{self.mode} {shlex.quote(self.target)}"

    def execute(self) -> None:
        change = mounts.make_private if self.mode == "private" else mounts.make_shared
        change(self.target, recursive=True)
