"""This machine as an environment: a Debian tree as `/` and namespaces of its own, on the machine's kernel.

What kins sees is an ordinary Linux machine, but the real one's files, links, mounts and processes are out of reach, and
the control groups that it may use are a branch that the block's end removes. Several can exist side by side.

For people: python -m tests.harness.native [--root copy|overlay] [--caps all|docker] [--read-only-kernel]
[--no-user-namespaces] [--user UID] [--bind SOURCE:TARGET] -- COMMAND…
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.harness import BUILD
from tests.harness.environment import (
    DOCKER_CAPABILITIES,
    INIT,
    Environment,
    as_user,
    exit_status,
    variables_of,
    with_capabilities,
)
from tests.harness.hierarchies import Hierarchy, hierarchies
from tests.harness.rootfs import copy_tree, sandbox_tree
from tests.harness.settings import MachineSettings

DIRECTORY = BUILD / "native"
PREFIX = "kins-native-"

NAMESPACES = ("mount", "net", "ipc", "uts", "cgroup", "pid")

# What mknod(1) makes in /dev: what a machine has there and kins or a pod's software may open.
DEVICES = (
    "-m 666 null c 1 3",
    "-m 666 zero c 1 5",
    "-m 666 full c 1 7",
    "-m 666 random c 1 8",
    "-m 666 urandom c 1 9",
    "-m 644 kmsg c 1 11",
    "-m 666 tty c 5 0",
    "-m 666 net/tun c 10 200",
    "-m 666 fuse c 10 229",
)

# Run inside by its text, with the command to become as its arguments.
WITHOUT_USER_NAMESPACES = (Path(__file__).parent / "refuse_user_namespaces.py").read_text()

# A process joins control groups before it enters the namespaces, whose mounts kins may change.
JOIN = """
while [ "$1" != -- ]; do echo 0 > "$1/cgroup.procs"; shift; done
shift
exec "$@"
"""


class Native(Environment):
    """Namespaces on this machine, from `with` to the end of the block; nothing of it is left after that.

    `root` is what `/` is inside: `copy` (a throw-away copy, on the file system that holds build/) or `overlay` (the
    kernel's; it starts faster, and no other overlay can have its upper directory there). `binds` maps paths of the
    machine to paths inside, read-only. There is no network but loopback. The machine's own are: the kernel, and with
    it the sysctls of kernel, vm and fs, which get back their values when the last such environment ends.

    With `read_only_kernel` /sys and /proc/sys are mounted read-only and control groups are not mounted at all, as in a
    container that somebody made with unshare(1). With `read_only_groups` they are mounted as Docker does it: to be read
    alone. Without `user_namespaces` making one is refused (by a filter like
    Docker's, because the kernel's setting is the whole machine's). `capabilities` are all of root's, or those that
    `docker` gives a container that asks for nothing.
    """

    def __init__(
        self,
        tree: Path,
        *,
        root: str = "copy",
        capabilities: str = "all",
        read_only_kernel: bool = False,
        read_only_groups: bool = False,
        user_namespaces: bool = True,
        binds: Mapping[Path, str] | None = None,
    ) -> None:
        self.name = f"native-{root}"
        self.on_gvisor = False
        self.tree = tree
        self.root = root
        self.capabilities = capabilities
        self.read_only_kernel = read_only_kernel
        self.read_only_groups = read_only_groups
        self.user_namespaces = user_namespaces
        self.binds = dict(binds or {})
        DIRECTORY.mkdir(parents=True, exist_ok=True)
        self.state, self._lock = new_state()
        self.groups: list[Hierarchy] = []
        self.settings = MachineSettings(DIRECTORY / "settings.json")
        self.process: subprocess.Popen[str] | None = None
        self.first_process = 0

    def start(self) -> None:
        """Make the namespaces, and return when the first process runs."""
        self.settings.hold()
        (self.state / "root").mkdir()
        if self.root == "copy":
            (self.state / "root").rmdir()
            copy_tree(self.tree, self.state / "root")
        self.groups = [hierarchy.branch(self.state.name) for hierarchy in hierarchies()]
        for group in self.groups:
            group.make()
        self.boot()

    def boot(self) -> None:
        """Make the namespaces around the files and control groups."""
        unshare = ["unshare", *(f"--{name}" for name in NAMESPACES), "--fork", "--kill-child=KILL"]
        with (self.state / "log").open("w") as log:
            self.process = subprocess.Popen(
                # The namespaces must not outlive a test process that was killed.
                ["setpriv", "--pdeathsig", "KILL", *self.joined([*unshare, "sh", "-euc", self.preparation()])],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self.process.stdout is not None
        # Two lines: the first process's pid outside, and INIT's word.
        pid, ready = self.process.stdout.readline(), self.process.stdout.readline()
        if ready != "ready\n":
            raise RuntimeError(f"the namespaces are not ready:\n{(self.state / 'log').read_text()}")
        self.first_process = int(pid)

    def preparation(self) -> str:
        """The script that the first process of the namespaces begins with."""
        root = shlex.quote(str(self.state / "root"))
        return "\n".join(
            [
                # The machine's procfs is still mounted here, and `self` there is this shell's number outside.
                "read -r pid _ < /proc/self/stat",
                "echo $pid",
                "mount --make-rprivate /",
                self.root_mount(),
                f"cd {root}",
                "mount -t proc proc proc",
                "mount -t sysfs sysfs sys",
                *self.kernel_mounts(),
                "mount -t tmpfs -o mode=755 tmpfs run",
                "mount -t tmpfs -o mode=755 tmpfs dev",
                "cd dev",
                "mkdir net pts shm mqueue",
                *(f"mknod {device}" for device in DEVICES),
                "mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts pts",
                "mount -t tmpfs -o mode=1777 tmpfs shm",
                "mount -t mqueue mqueue mqueue",
                "ln -s pts/ptmx ptmx",
                "ln -s /proc/self/fd fd",
                *(f"ln -s fd/{number} std{name}" for number, name in enumerate(("in", "out", "err"))),
                "cd ..",
                *(bind_commands(source, target) for source, target in self.binds.items()),
                "ip link set lo up",
                "echo sandbox > /proc/sys/kernel/hostname",
                # The new root lands on top of the old one, which the second command takes away.
                "pivot_root . .",
                "umount -l .",
                "cd /",
                shlex.join(["exec", "env", "-i", *assignments(variables_of(0)), "python3", "-c", INIT]),
            ]
        )

    def kernel_mounts(self) -> list[str]:
        """The commands for what is below /sys and /proc/sys."""
        if self.read_only_kernel:
            return [
                "mount -o remount,bind,ro sys",
                "mount --bind proc/sys proc/sys",
                "mount -o remount,bind,ro proc/sys",
            ]
        mounted = [line for group in self.groups for line in group.mount_commands()]
        places = [shlex.quote(f"./{str(group.mount_point).lstrip('/')}") for group in self.groups]
        return [*mounted, *(f"mount -o remount,bind,ro {place}" for place in places if self.read_only_groups)]

    def root_mount(self) -> str:
        """The command that makes the root directory a mount, as pivot_root(2) asks for."""
        root = shlex.quote(str(self.state / "root"))
        if self.root == "copy":
            return f"mount --bind {root} {root}"
        upper, work = self.state / "upper", self.state / "work"
        options = shlex.quote(f"lowerdir={self.tree},upperdir={upper},workdir={work}")
        return f"mkdir {shlex.quote(str(upper))} {shlex.quote(str(work))}\nmount -t overlay -o {options} overlay {root}"

    def restart(self) -> None:
        """New namespaces with the same files and control groups. The kernel goes on, with its boot id and sysctls."""
        self.end()
        self.boot()

    def pause(self) -> None:
        """SIGSTOP to every process, until there is none that has not got it: they may start others meanwhile."""
        stopped: set[int] = set()
        while new := set(self.processes()) - stopped:
            for pid in new:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGSTOP)
            stopped |= new

    def resume(self) -> None:
        """SIGCONT to every process."""
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def processes(self) -> list[int]:
        """All processes in the namespaces, by their numbers outside: the first one and its descendants."""
        parents: dict[int, list[int]] = {}
        for place in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                parent = int((place / "stat").read_text().rpartition(")")[2].split()[1])
                parents.setdefault(parent, []).append(int(place.name))
        found = [self.first_process]
        for pid in found:
            found += parents.get(pid, [])
        return found

    def stop(self) -> None:
        """End every process in the namespaces, and with them the mounts; remove groups and files."""
        self.end()
        for group in self.groups:
            group.remove(time.monotonic() + 30)
        self.settings.release()
        shutil.rmtree(self.state)
        os.close(self._lock)

    def end(self) -> None:
        """End every process in the namespaces."""
        if self.process is not None:
            if self.process.poll() is None and self.first_process:
                # Its end is that of all others in the pid namespace; only after them does unshare see it.
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.first_process, signal.SIGKILL)
            else:
                self.process.kill()
            self.process.wait(timeout=60)
            assert self.process.stdout is not None
            self.process.stdout.close()
            self.process = None
            self.first_process = 0

    def command(
        self, arguments: Sequence[str], *, user: int = 0, variables: Mapping[str, str] | None = None
    ) -> list[str]:
        """The command line that runs `arguments` inside; its exit status is theirs."""
        enter = ["nsenter", "--target", str(self.first_process), *(f"--{name}" for name in NAMESPACES), "--"]
        clean = ["/usr/bin/env", "-i", *assignments(variables_of(user, variables))]
        refused = [] if self.user_namespaces else ["python3", "-c", WITHOUT_USER_NAMESPACES]
        whole = [*refused, *as_user(user, arguments)]
        if self.capabilities == "docker":
            whole = with_capabilities(DOCKER_CAPABILITIES, whole)
        return self.joined([*enter, *clean, *whole])

    def joined(self, command: Sequence[str]) -> list[str]:
        """A command line that first moves itself into this environment's control groups."""
        return ["sh", "-euc", JOIN, "sh", *(str(group.directory) for group in self.groups), "--", *command]


def new_state() -> tuple[Path, int]:
    """A new directory for one environment, locked for as long as the returned descriptor is open."""
    parent = os.open(DIRECTORY, os.O_RDONLY)
    try:
        fcntl.flock(parent, fcntl.LOCK_EX)
        remove_abandoned()
        state = Path(tempfile.mkdtemp(prefix=PREFIX, dir=DIRECTORY))
        return state, locked(state)
    finally:
        os.close(parent)


def remove_abandoned() -> None:
    """Remove what environments have left whose test process was killed; their processes ended with it."""
    for state in DIRECTORY.glob(f"{PREFIX}*"):
        try:
            lock = locked(state)
        except (BlockingIOError, FileNotFoundError):
            continue
        for hierarchy in hierarchies():
            hierarchy.branch(state.name).remove(time.monotonic() + 30)
        shutil.rmtree(state)
        os.close(lock)


def locked(directory: Path) -> int:
    """The descriptor of a directory that nobody else has locked. Raises BlockingIOError if somebody has."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise
    return descriptor


def assignments(variables: Mapping[str, str]) -> list[str]:
    """Environment variables as env(1) takes them."""
    return [f"{name}={value}" for name, value in variables.items()]


def bind_commands(source: Path, target: str) -> str:
    """Shell commands that bind a file or directory of the machine read-only below the working directory."""
    outside, inside = shlex.quote(str(source.resolve())), shlex.quote(f"./{target.lstrip('/')}")
    place = f"mkdir -p {inside}" if source.is_dir() else f'mkdir -p "$(dirname {inside})"\ntouch {inside}'
    return f"{place}\nmount --bind {outside} {inside}\nmount -o remount,bind,ro {inside}"


def main() -> int:
    """Run one command in new namespaces and return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.harness.native", description=main.__doc__)
    parser.add_argument("--root", choices=("copy", "overlay"), default="copy")
    parser.add_argument("--caps", choices=("all", "docker"), default="all")
    parser.add_argument("--read-only-kernel", action="store_true")
    parser.add_argument("--no-user-namespaces", action="store_true")
    parser.add_argument("--tree", type=Path, help="root file system (default: Debian with Python)")
    parser.add_argument("--bind", action="append", default=[], metavar="SOURCE:TARGET", help="read-only")
    parser.add_argument("--user", type=int, default=0)
    parser.add_argument("--env", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()
    binds = {Path(source): target for source, _, target in (bind.partition(":") for bind in options.bind)}
    variables = {name: value for name, _, value in (pair.partition("=") for pair in options.env)}
    given = {"read_only_kernel": options.read_only_kernel, "user_namespaces": not options.no_user_namespaces}
    with Native(
        options.tree or sandbox_tree(), root=options.root, capabilities=options.caps, **given, binds=binds
    ) as native:
        command = native.command(options.command, user=options.user, variables=variables)
        return exit_status(subprocess.run(command, check=False).returncode)


if __name__ == "__main__":
    sys.exit(main())
