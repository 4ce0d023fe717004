"""mount(8) and umount(8) as the kubelet calls them (k8s.io/mount-utils, mount_linux.go), where a sandbox has neither:

    python -m kins.sys.mount_program mount [--no-canonicalize] [-t KIND] [-o OPTION,…] [SOURCE] TARGET
    python -m kins.sys.mount_program umount [--force|--lazy] TARGET

Words, messages and exit statuses are those of util-linux, which the kubelet reads. Helpers for network file systems
(mount.nfs) are not called, loop devices are not made, and /etc/fstab is not read.
"""

from __future__ import annotations

import errno
import getopt
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from kins.sys import mounts

# Words that are flags of mount(2), and those that take one away again (mount(8), filesystem-independent options).
SETS = {
    "ro": mounts.MS_RDONLY,
    "nosuid": mounts.MS_NOSUID,
    "nodev": mounts.MS_NODEV,
    "noexec": mounts.MS_NOEXEC,
    "sync": mounts.MS_SYNCHRONOUS,
    "noatime": mounts.MS_NOATIME,
    "nodiratime": mounts.MS_NODIRATIME,
    "relatime": mounts.MS_RELATIME,
    "strictatime": mounts.MS_STRICTATIME,
    "remount": mounts.MS_REMOUNT,
    "bind": mounts.MS_BIND,
    "rbind": mounts.MS_BIND | mounts.MS_REC,
}
CLEARS = {
    "rw": mounts.MS_RDONLY,
    "suid": mounts.MS_NOSUID,
    "dev": mounts.MS_NODEV,
    "exec": mounts.MS_NOEXEC,
    "async": mounts.MS_SYNCHRONOUS,
    "atime": mounts.MS_NOATIME,
    "diratime": mounts.MS_NODIRATIME,
    "norelatime": mounts.MS_RELATIME,
    "nostrictatime": mounts.MS_STRICTATIME,
}
# Changes of how a mount is told to others: each is a call of its own, after the mount.
PROPAGATION = {
    "private": mounts.MS_PRIVATE,
    "slave": mounts.MS_SLAVE,
    "shared": mounts.MS_SHARED,
    "unbindable": mounts.MS_UNBINDABLE,
} | {
    "rprivate": mounts.MS_PRIVATE | mounts.MS_REC,
    "rslave": mounts.MS_SLAVE | mounts.MS_REC,
    "rshared": mounts.MS_SHARED | mounts.MS_REC,
    "runbindable": mounts.MS_UNBINDABLE | mounts.MS_REC,
}
# Words for init scripts and for mount(8) itself.
IGNORED = ("defaults", "_netdev", "nofail", "auto", "noauto")
LONG = ("no-canonicalize", "types=", "options=", "bind", "rbind", *(f"make-{name}" for name in PROPAGATION))

USAGE_STATUS, MOUNT_STATUS = 1, 32
# What umount2(2) says, in the words of util-linux; the first is what the kubelet looks for (errNotMounted).
UNMOUNT_WORDS = {
    errno.EINVAL: "not mounted.",
    errno.EBUSY: "target is busy.",
    errno.ENOENT: "no mount point specified.",
}


class WrongUsage(Exception):
    """A command line that cannot be understood; the text says why."""


@dataclass(frozen=True)
class Request:
    """What a command line of mount(8) asks for: flags of mount(2), changes of propagation, the file system's data."""

    source: str
    target: str
    kind: str
    flags: int
    propagation: tuple[int, ...]
    data: str

    def carry_out(self) -> None:
        """Raises OSError."""
        if self.flags or self.kind:
            self._mount()
        for change in self.propagation:
            mounts.mount("none", self.target, "none", change)

    def _mount(self) -> None:
        bind = self.flags & (mounts.MS_BIND | mounts.MS_REC)
        if not bind or self.flags & mounts.MS_REMOUNT:
            mounts.mount(self.source, self.target, self.kind or "none", self.flags, self.data)
            return
        # mount(2) ignores all other flags of a new bind mount: they need a second call.
        mounts.mount(self.source, self.target, "none", bind)
        if others := self.flags & ~bind:
            mounts.mount("none", self.target, "none", others | mounts.MS_BIND | mounts.MS_REMOUNT)


def parse(arguments: Sequence[str]) -> Request:
    """The request of a command line of mount(8). Raises WrongUsage."""
    options, places = _options(arguments, "t:o:", LONG)
    words: list[str] = []
    kind = ""
    for name, value in options:
        if name in ("-t", "--types"):
            kind = value
        elif name in ("-o", "--options"):
            words += value.split(",")
        elif name != "--no-canonicalize":  # never done here
            words.append(name.lstrip("-").removeprefix("make-"))
    if not 1 <= len(places) <= 2:
        raise WrongUsage("wrong number of arguments: [SOURCE] TARGET")
    flags, propagation, data = _sorted(words)
    if not (kind or flags & (mounts.MS_BIND | mounts.MS_REMOUNT) or propagation):
        raise WrongUsage("no type of file system (-t KIND), and nothing else that tells what to mount")
    source = places[0] if len(places) > 1 else "none"
    return Request(source, places[-1], kind, flags, tuple(propagation), ",".join(data))


def _options(arguments: Sequence[str], short: str, long: Sequence[str]) -> tuple[list[tuple[str, str]], list[str]]:
    try:
        return getopt.gnu_getopt(list(arguments), short, list(long))
    except getopt.GetoptError as error:
        raise WrongUsage(str(error)) from error


def _sorted(words: Sequence[str]) -> tuple[int, list[int], list[str]]:
    """Option words as flags, changes of propagation and the file system's own data. Later words win."""
    flags = 0
    propagation, data = [], []
    for word in filter(None, words):
        if word in SETS:
            flags |= SETS[word]
        elif word in CLEARS:
            flags &= ~CLEARS[word]
        elif word in PROPAGATION:
            propagation.append(PROPAGATION[word])
        elif word not in IGNORED:
            data.append(word)
    return flags, propagation, data


def mount(arguments: Sequence[str]) -> int:
    """mount(8); returns the exit status."""
    request = parse(arguments)
    try:
        request.carry_out()
    except OSError as error:
        return _fail("mount", f"{request.target}: {error.strerror}")
    return 0


def unmount(arguments: Sequence[str]) -> int:
    """umount(8) of one mount point; returns the exit status."""
    options, places = _options(arguments, "fl", ("force", "lazy"))
    if len(places) != 1:
        raise WrongUsage("wrong number of arguments: TARGET")
    given = {name.lstrip("-")[0] for name, _ in options}
    try:
        mounts.unmount(places[0], lazy="l" in given, force="f" in given)
    except OSError as error:
        return _fail("umount", f"{places[0]}: {_unmount_words(error.errno or 0)}")
    return 0


def _unmount_words(number: int) -> str:
    return UNMOUNT_WORDS.get(number, os.strerror(number))


def _fail(name: str, message: str) -> int:
    print(f"{name}: {message}", file=sys.stderr)
    return MOUNT_STATUS


def main(arguments: Sequence[str]) -> int:
    """`mount …` or `umount …`; returns the exit status."""
    programs = {"mount": mount, "umount": unmount}
    name = os.path.basename(arguments[0]) if arguments else ""
    if name not in programs:
        print(f"usage: {' | '.join(programs)} ARGUMENT…", file=sys.stderr)
        return USAGE_STATUS
    try:
        return programs[name](arguments[1:])
    except WrongUsage as error:
        print(f"{name}: {error}", file=sys.stderr)
        return USAGE_STATUS


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
