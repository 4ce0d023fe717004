"""A real gVisor sandbox: one long-lived first process, and a `runsc exec` for each command.

For people: python -m tests.harness.gvisor [--root overlay|9p] [--caps all|docker] [--net none|sandbox|host]
[--runsc PROGRAM] [--user UID] [--bind SOURCE:TARGET] -- COMMAND…
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.harness import BUILD
from tests.harness.cache import made_once
from tests.harness.environment import DOCKER_CAPABILITIES, INIT, VARIABLES, Environment, as_user, variables_of
from tests.harness.network import ThrowAwayNetwork
from tests.harness.rootfs import copy_tree, logged, sandbox_tree

RUNSC = BUILD / "tools" / "runsc"
DEBIAN_RUNSC = BUILD / "tools" / "runsc-debian"

OTHER_CAPABILITIES = (
    "AUDIT_CONTROL AUDIT_READ BLOCK_SUSPEND DAC_READ_SEARCH IPC_LOCK IPC_OWNER LEASE LINUX_IMMUTABLE MAC_ADMIN "
    "MAC_OVERRIDE NET_ADMIN NET_BROADCAST SYSLOG SYS_ADMIN SYS_BOOT SYS_MODULE SYS_NICE SYS_PACCT SYS_PTRACE SYS_RAWIO "
    "SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG WAKE_ALARM"
)


def debian_runsc() -> Path:
    """The runsc of Debian's package (bookworm has one of December 2022), from this machine's own apt."""
    return made_once(DEBIAN_RUNSC, unpack_debian_runsc) / "usr/bin/runsc"


def unpack_debian_runsc(target: Path) -> None:
    """Fill `target` with the package's files."""
    with tempfile.TemporaryDirectory() as directory:
        # Told as an option: apt's own user may not write into a directory of root's, and apt would warn of it.
        logged(["sh", "-ec", 'cd "$0"; apt-get -q -o APT::Sandbox::User=root download runsc', directory])
        (package,) = Path(directory).glob("runsc_*.deb")
        logged(["dpkg-deb", "--extract", str(package), str(target)])


class Sandbox(Environment):
    """One gVisor sandbox, from `with` to the end of the block; nothing of it is left after that.

    `root` is what `/` is inside: `overlay` (gVisor's own, in memory; the tree is not written to) or `9p` (the gofer's,
    on a throw-away copy). `binds` maps host paths to paths inside, read-only. `network` is runsc's word: `none` is
    loopback alone, `sandbox` gVisor's own stack with the addresses of a throw-away network, `host` that network itself.
    `program` is the runsc.
    """

    def __init__(
        self,
        tree: Path,
        *,
        root: str = "overlay",
        capabilities: str = "all",
        network: str = "none",
        program: Path | None = None,
        binds: Mapping[Path, str] | None = None,
    ) -> None:
        self.name = f"gvisor-{root}"
        self.on_gvisor = True
        self.tree = tree
        self.root = root
        self.capabilities = capabilities
        self.network = network
        self.program = program or Path(os.environ.get("KINS_TEST_RUNSC", RUNSC))
        self.outside: ThrowAwayNetwork | None = None
        self.binds = dict(binds or {})
        # Short: runsc puts unix sockets below it, whose paths may have 107 characters.
        self.state = Path(tempfile.mkdtemp(prefix="kins-gvisor-"))
        self.identity = self.state.name
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Boot, and return when the first process runs."""
        tree = self.tree
        if self.root == "9p":
            tree = self.state / "tree"
            copy_tree(self.tree, tree)
        if self.network != "none":
            self.outside = ThrowAwayNetwork().__enter__()
        bundle = self.state / "bundle"
        bundle.mkdir()
        (bundle / "config.json").write_text(json.dumps(self.specification(tree)))
        self.boot()

    def boot(self) -> None:
        """Start the sandbox of the bundle."""
        bundle = self.state / "bundle"
        # Appending: gVisor writes its own messages at offset 0 of a plain file.
        with (self.state / "runsc.log").open("a") as log:
            self.process = subprocess.Popen(
                # The sandbox must not outlive a test process that was killed.
                ["setpriv", "--pdeathsig", "TERM", *self.runsc("run", "--bundle", str(bundle), self.identity)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self.process.stdout is not None
        if self.process.stdout.readline() != "ready\n":
            raise RuntimeError(f"gVisor did not start:\n{(self.state / 'runsc.log').read_text()}")

    def restart(self) -> None:
        """A new sandbox with the same files; an overlay in memory is empty again."""
        self.end()
        self.boot()

    def pause(self) -> None:
        """Every task stands still."""
        subprocess.run(self.runsc("pause", self.identity), capture_output=True, check=True)

    def resume(self) -> None:
        """They go on."""
        subprocess.run(self.runsc("resume", self.identity), capture_output=True, check=True)

    def stop(self) -> None:
        """End the sandbox and remove its files."""
        self.end()
        if self.outside is not None:
            self.outside.__exit__(None, None, None)
        # runsc keeps an empty network namespace mounted in its state directory, and leaves it there.
        subprocess.run(
            ["umount", "--quiet", str(self.state / "runsc" / "null-netns")], capture_output=True, check=False
        )
        shutil.rmtree(self.state)

    def end(self) -> None:
        """End every process in it, and the sandbox itself."""
        if self.process is not None:
            subprocess.run(self.runsc("delete", "-force", self.identity), capture_output=True, timeout=60, check=False)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(timeout=30)
            self.process.kill()
            self.process.wait()
            assert self.process.stdout is not None
            self.process.stdout.close()
            self.process = None

    def runsc(self, *arguments: str) -> list[str]:
        """A runsc command line of this sandbox."""
        overlay = "root:memory" if self.root == "overlay" else "none"
        flags = ["--ignore-cgroups", f"--network={self.network}", f"--overlay2={overlay}"]
        return [str(self.program), f"--root={self.state / 'runsc'}", *flags, *arguments]

    def specification(self, tree: Path) -> dict[str, object]:
        """The OCI runtime specification, as far as it differs from nothing."""
        names = DOCKER_CAPABILITIES + (f" {OTHER_CAPABILITIES}" if self.capabilities == "all" else "")
        granted = [f"CAP_{name}" for name in names.split()]
        kinds = ("bounding", "effective", "permitted")
        binds = [
            {"destination": inside, "type": "bind", "source": str(outside.resolve()), "options": ["rbind", "ro"]}
            for outside, inside in self.binds.items()
        ]
        return {
            "ociVersion": "1.0.0",
            "hostname": "sandbox",
            "process": {
                "user": {"uid": 0, "gid": 0},
                "args": ["python3", "-c", INIT],
                "cwd": "/",
                "env": [f"{name}={value}" for name, value in VARIABLES.items()],
                "capabilities": dict.fromkeys(kinds, granted),
                "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 65536, "soft": 65536}],
            },
            # Resolved: runsc refuses to bind below a path with a symbolic link in it, as build/ may be.
            "root": {"path": str(tree.resolve()), "readonly": False},
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/dev", "type": "tmpfs", "source": "tmpfs"},
                {
                    "destination": "/sys",
                    "type": "sysfs",
                    "source": "sysfs",
                    "options": ["nosuid", "noexec", "nodev", "ro"],
                },
                {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"},
                *binds,
            ],
            "linux": {"namespaces": self.namespaces()},
        }

    def namespaces(self) -> list[dict[str, str]]:
        """Of the machine's, around gVisor. Where the network is another one than none, runsc enters the one given."""
        made = [{"type": kind} for kind in ("pid", "ipc", "uts", "mount")]
        return [*made, {"type": "network", **({"path": self.outside.path} if self.outside else {})}]

    def command(
        self, arguments: Sequence[str], *, user: int = 0, variables: Mapping[str, str] | None = None
    ) -> list[str]:
        """The command line that runs `arguments` inside; its exit status is theirs."""
        pairs = variables_of(user, variables).items()
        options = [item for name, value in pairs for item in ("--env", f"{name}={value}")]
        # Not `runsc exec --user`: it keeps root's capabilities.
        return self.runsc("exec", *options, self.identity, *as_user(user, arguments))


def main() -> int:
    """Run one command in a new sandbox and return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.harness.gvisor", description=main.__doc__)
    parser.add_argument("--root", choices=("overlay", "9p"), default="overlay")
    parser.add_argument("--net", choices=("none", "sandbox", "host"), default="none")
    parser.add_argument("--runsc", type=Path, help="default: the one of make tools")
    parser.add_argument("--caps", choices=("all", "docker"), default="all")
    parser.add_argument("--tree", type=Path, help="root file system (default: Debian with Python)")
    parser.add_argument("--bind", action="append", default=[], metavar="SOURCE:TARGET", help="read-only")
    parser.add_argument("--user", type=int, default=0)
    parser.add_argument("--env", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()
    binds = {Path(source): target for source, _, target in (bind.partition(":") for bind in options.bind)}
    variables = {name: value for name, _, value in (pair.partition("=") for pair in options.env)}
    tree = options.tree or sandbox_tree()
    given = {"capabilities": options.caps, "network": options.net, "program": options.runsc, "binds": binds}
    with Sandbox(tree, root=options.root, **given) as sandbox:
        command = sandbox.command(options.command, user=options.user, variables=variables)
        return run_through_pipes(command)


def run_through_pipes(command: Sequence[str]) -> int:
    """The exit status of a command; its output goes on from here, since gVisor writes at offset 0 of a plain file."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        assert process.stdout is not None
        while chunk := os.read(process.stdout.fileno(), 65536):
            sys.stdout.buffer.write(chunk)
            sys.stdout.buffer.flush()
        return process.wait()


if __name__ == "__main__":
    sys.exit(main())
