"""Control groups in FUSE, mounted, with those who read them: shells, runc with a container, whoever listens for kills.

Each test has a mount namespace of its own, in which they are at the place of the kernel's.
"""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from tests.harness.environment import Background, Environment
from tests.harness.wheel import ENVIRONMENT
from tests.scenario.cluster import eventually

from kins.cgroupfs.control_groups import CONTROLLERS_V1

pytestmark = pytest.mark.one_root("overlay")

MOUNT = "/sys/fs/cgroup"
PYTHON = f"{ENVIRONMENT}/bin/python"
MEGABYTE = 1 << 20

# A shell whose mount namespace is the test's, until its standard input ends.
HOLD = "mount --make-rprivate / && echo $$ && exec cat"


@dataclass(frozen=True)
class Emulated:
    """A mount namespace with control groups in it; `process` holds it, and the state is in `directory`."""

    environment: Environment
    process: int
    directory: str
    version: int

    def command(self, *words: str) -> list[str]:
        """A command line in the mount namespace."""
        return ["nsenter", f"--target={self.process}", "--mount", "--", *words]

    def run(self, *words: str, check: bool = True, timeout: float = 60.0) -> subprocess.CompletedProcess[str]:
        """Run a command in the mount namespace."""
        return self.environment.run(self.command(*words), check=check, timeout=timeout)

    def shell(self, text: str, timeout: float = 60.0) -> str:
        """What a shell script says, its errors included; the working directory is the mount."""
        return self.run("bash", "-c", f"cd {MOUNT}; exec 2>&1\n{text}", check=False, timeout=timeout).stdout

    @contextmanager
    def served(self, *flags: str) -> Iterator[Background]:
        """Control groups are served in the block."""
        state = ["--state", f"{self.directory}/state", "--version", str(self.version)]
        with self.environment.spawn(
            self.command(PYTHON, "-m", "kins.cgroupfs", "--mount", MOUNT, *state, *flags)
        ) as server:
            # Read, not only found: names are known for a second, also those of a server that is dead.
            eventually(lambda: self.run("cat", self.proof, check=False).returncode == 0)
            yield server

    @property
    def proof(self) -> str:
        """A file that is only there when control groups are served: none of the kernel's is called so."""
        return f"{MOUNT}/.kins/cgroups"

    def intercepted(self, *words: str) -> list[str]:
        """A command line under a tracer that makes it take these control groups for the kernel's."""
        file = f"{self.directory}/rules.json"
        program = (
            "import json, sys; from kins.cgroupfs import rules; "
            f"json.dump({{'version': 1, 'rules': rules('{MOUNT}', {self.version})}}, open('{file}', 'w'))"
        )
        self.run(PYTHON, "-c", program)
        return ["kins", "intercept", "--rules", file, "--", *words]


@pytest.fixture
def emulated(environment: Environment, directory: str, request: pytest.FixtureRequest) -> Iterator[Emulated]:
    """A mount namespace in which nothing is served yet."""
    with environment.spawn(["unshare", "--mount", "sh", "-c", HOLD]) as holder:
        yield Emulated(environment, int(holder.line()), directory, getattr(request, "param", 1))


def test_files_and_directories(emulated: Emulated) -> None:
    """What a shell sees: the kernel's words for what it does not allow."""
    with emulated.served():
        assert emulated.shell("ls").split() == sorted(CONTROLLERS_V1)
        assert emulated.shell(
            "ls -A /sys/fs/cgroup/.kins; stat -c %a memory memory/tasks memory/memory.stat"
        ).split() == [
            "cgroups",
            "processes",
            "755",
            "644",
            "444",
        ]
        told = emulated.shell(
            """
            mkdir memory/a memory/a/b && mkdir memory/a
            sleep 60 & echo $! > memory/a/b/cgroup.procs
            rmdir memory/a; rmdir memory/a/b; rmdir memory
            touch memory/a/new; rm memory/a/tasks; ln -s x memory/a/link; cat memory/a/memory.force_empty
            echo x > memory/a/memory.limit_in_bytes
            echo 10M > memory/a/memory.limit_in_bytes; cat memory/a/memory.limit_in_bytes
            chmod 600 memory/a/tasks; chown 1000:1000 memory/a; stat -c '%a %u' memory/a/tasks memory/a
            mv memory/a memory/c; ls -d memory/*/b; ls -l memory/c | wc -l
            kill $!; wait $!; rmdir memory/c/b memory/c; ls -d memory/c
            """
        )
    said = [line.rpartition(": ")[2] for line in told.splitlines()]
    assert said == [
        "File exists",
        "Device or resource busy",
        "Device or resource busy",
        "Device or resource busy",
        "Permission denied",
        "Operation not permitted",
        "Operation not permitted",
        "Permission denied",
        "Invalid argument",
        "10485760",
        "600 0",
        "755 1000",
        "memory/c/b",
        said[13],
        "No such file or directory",
    ]
    assert int(said[13]) > 30


def test_every_file_can_be_read(emulated: Emulated) -> None:
    """As the kubelet's cAdvisor does, and what it adds up is what /proc says."""
    with emulated.served():
        emulated.shell("for each in *; do mkdir -p $each/pods/one; done")
        broken = emulated.shell(
            "find . -type f -perm /444 -exec sh -c 'cat $0 > /dev/null || echo $0' {} ';'", timeout=120
        )
        assert broken == ""
        used, stat = emulated.shell("cat cpuacct/cpuacct.usage; head -1 /proc/stat").splitlines()
        ticks = [int(field) for field in stat.split()[1:]]
        assert abs(int(used) / 10_000_000 - sum(ticks[:3]) - sum(ticks[5:7])) < 300
        tasks = emulated.shell("cat memory/cgroup.procs | wc -l; ls -d /proc/[0-9]* | wc -l").split()
        assert abs(int(tasks[0]) - int(tasks[1])) < 10


def bundle(rootfs: str, version: int) -> dict[str, Any]:
    """A container that sleeps, with limits (runtime-spec, config.md and config-linux.md)."""
    kinds = ("pid", "ipc", "uts", "mount", "network")
    mounts = [("/proc", "proc", []), ("/dev", "tmpfs", []), ("/sys", "sysfs", ["ro", "nosuid", "noexec", "nodev"])]
    if version == 1:
        mounts.append((MOUNT, "cgroup", ["ro", "nosuid", "noexec", "nodev"]))
    return {
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": 0, "gid": 0},
            "args": ["sleep", "600"],
            "cwd": "/",
            "env": ["PATH=/usr/bin:/bin"],
        },
        "root": {"path": rootfs, "readonly": True},
        "mounts": [
            {"destination": where, "type": kind, "source": kind, "options": options} for where, kind, options in mounts
        ],
        "linux": {
            "cgroupsPath": "/pods/one",
            "namespaces": [{"type": kind} for kind in kinds],
            "resources": {
                "memory": {"limit": 256 * MEGABYTE, "swap": 256 * MEGABYTE},
                "cpu": {"shares": 512, "quota": 50_000, "period": 100_000, "cpus": "0", "mems": "0"},
                "pids": {"limit": 100},
            },
        },
    }


# Runs under the tracer; each line that it prints is checked. runc's stages leave nothing behind on their streams.
LIFE = """
set -eu
runc() { {runc} --root {directory}/runc "$@"; }
cd {directory}/bundle
runc create one < /dev/null > {directory}/log 2>&1 || cat {directory}/log
runc start one
pid=$(runc state one | sed -n 's/.*"pid": \\([0-9]*\\).*/\\1/p')
cat /proc/$pid/cgroup | sed 's/^/group: /'
runc events --stats one
runc exec one sh -c 'sleep 5 > /dev/null 2>&1 & cat {procs} | wc -l'
runc pause one && cut -d' ' -f3 /proc/$pid/stat && runc resume one
runc update --memory 134217728 --memory-swap 134217728 one && cat {limit}
runc kill one KILL
until runc state one | grep -q '"status": "stopped"'; do sleep 0.1; done
runc delete one
find {mount} -name one
"""


def prepare(emulated: Emulated) -> None:
    """A root file system and the container's description: the environment's own programs, without its mounts."""
    directory = emulated.directory
    emulated.run("mkdir", "--parents", f"{directory}/rootfs", f"{directory}/bundle")
    emulated.run("mount", "--bind", "/", f"{directory}/rootfs")
    description = json.dumps(bundle(f"{directory}/rootfs", emulated.version))
    emulated.environment.write(f"{directory}/bundle/config.json", description)


def life(emulated: Emulated, limit: str, procs: str) -> list[str]:
    """What the script says of a container's life."""
    runc = emulated.environment.output(
        "sh", "-c", f"ls {ENVIRONMENT}/lib/python3*/site-packages/kins/_bin/runc"
    ).strip()
    values = {"runc": runc, "directory": emulated.directory, "limit": limit, "procs": procs, "mount": MOUNT}
    script = LIFE
    for name, value in values.items():
        script = script.replace("{" + name + "}", value)
    # Go's own signals interrupt calls to FUSE servers in gVisor (kins.cgroupfs.READERS_ENVIRONMENT).
    command = emulated.intercepted("env", "GODEBUG=asyncpreemptoff=1", "bash", "-c", script)
    return emulated.run(*command, timeout=120).stdout.splitlines()


def test_runc(emulated: Emulated) -> None:
    """A container's whole life, twice with the same name: what it is given, what is read of it, who is in it."""
    prepare(emulated)
    with emulated.served():
        for _ in range(2):
            said = life(emulated, f"{MOUNT}/memory/pods/one/memory.limit_in_bytes", f"{MOUNT}/pids/cgroup.procs")
            groups = [line.split(":")[2:] for line in said if line.startswith("group: ")]
            assert groups == [[name, "/pods/one"] for name in reversed(CONTROLLERS_V1)]
            data = json.loads(said[len(groups)])["data"]
            assert data["memory"]["usage"]["limit"] == 256 * MEGABYTE
            assert 0 < data["memory"]["usage"]["usage"] < 256 * MEGABYTE
            assert data["pids"] == {"current": 1, "limit": 100}
            assert data["cpuset"]["cpus"] == [0]
            # sleep, and what `exec` has started: a shell, its child, cat and wc.
            assert int(said[len(groups) + 1]) in (4, 5)
            assert said[len(groups) + 2] in ("T", "t")
            assert said[len(groups) + 3 :] == [str(128 * MEGABYTE)]


@pytest.mark.parametrize("emulated", [2], indirect=True)
def test_runc_with_version_2(emulated: Emulated) -> None:
    """Where runc attaches no program to the group for its devices, which only the kernel's own can have."""
    if not emulated.environment.on_gvisor:
        pytest.skip("Linux takes device rules of version 2 as BPF programs of its own groups only")
    prepare(emulated)
    with emulated.served():
        said = life(emulated, f"{MOUNT}/pods/one/memory.max", f"{MOUNT}/pods/one/cgroup.procs 2> /dev/null")
        assert said[0] == "group: 0::/pods/one"
        data = json.loads(said[1])["data"]
        assert data["memory"]["usage"]["limit"] == 256 * MEGABYTE
        assert data["pids"] == {"current": 1, "limit": 100}
        assert said[-1] == str(128 * MEGABYTE)


# In gVisor the request under way at the server's death may be answered with nothing; then none may succeed any more.
READER = f"""
import os, time
ends = time.monotonic() + 20
empty = False
while time.monotonic() < ends:
    try:
        descriptor = os.open("{MOUNT}/memory/a/memory.stat", os.O_RDONLY)
        content = os.read(descriptor, 100)
        assert not (empty and content)
        empty = not content
        os.close(descriptor)
    except OSError as error:
        print(error.errno, flush=True)
        break
"""


def test_readers_outlive_the_server(emulated: Emulated) -> None:
    """They get an error at once, and the next server goes on where the killed one was."""
    with emulated.served() as server:
        emulated.shell("mkdir memory/a; echo 1M > memory/a/memory.limit_in_bytes")
        with emulated.environment.spawn(["sleep", "600"]) as member:
            emulated.shell(f"echo {member.pid} > memory/a/cgroup.procs")
            with (
                emulated.environment.spawn(emulated.command("python3", "-c", READER)) as first,
                emulated.environment.spawn(emulated.command("python3", "-c", READER)) as second,
            ):
                emulated.shell("sleep 0.5")
                server.kill(signal.SIGKILL)
                # ENOTCONN, or ECONNABORTED and EINTR for the request that was under way.
                assert {each.finish(timeout=5)[1].strip() for each in (first, second)} <= {"107", "103", "4"}
            server.finish(timeout=5)
            with emulated.served():
                kept = emulated.shell(
                    "cat memory/a/memory.limit_in_bytes memory/a/cgroup.procs; grep -c 'cgroup fuse' /proc/mounts"
                )
                assert kept.split() == [str(MEGABYTE), str(member.pid), "1"]


# Listens as containerd's shim does on version 1 (cgroup-v1/memory.rst, 10).
LISTENER = f"""
import os, sys
event = os.eventfd(0)
control = os.open("{MOUNT}/memory/a/memory.oom_control", os.O_RDONLY)
with open("{MOUNT}/memory/a/cgroup.event_control", "w") as file:
    file.write(f"{{event}} {{control}}")
print("listening", flush=True)
print("killed", os.eventfd_read(event), flush=True)
"""
HOLDER = "import sys, time; held = bytearray(b'x') * int(sys.argv[1]); time.sleep(60)"


def test_limits_are_enforced(emulated: Emulated) -> None:
    """The largest is killed; whoever listens and whoever was named are told."""
    told = f"{emulated.directory}/told"
    tell = json.dumps(["sh", "-c", f"echo $1 >> {told}", "sh"])
    with emulated.served("--enforce-memory", "--on-kill", tell):
        emulated.shell("mkdir memory/a; echo 40M > memory/a/memory.limit_in_bytes")
        with emulated.environment.spawn(emulated.command("python3", "-c", LISTENER)) as listener:
            assert listener.line() == "listening"
            emulated.environment.write(f"{emulated.directory}/holder", HOLDER)
            holder = f"python3 {emulated.directory}/holder {100 * MEGABYTE}"
            # The shell is in the group too, and is not the largest.
            assert emulated.shell(f"echo 0 > memory/a/cgroup.procs; {holder} > /dev/null; echo $?").split()[-1] == "137"
            assert listener.line() == "killed 1"
        assert "oom_kill 1" in emulated.shell("cat memory/a/memory.oom_control")
        assert emulated.shell(f"cat {told} memory/a/memory.failcnt").split() == ["a", "1"]
