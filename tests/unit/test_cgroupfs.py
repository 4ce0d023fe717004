"""Emulated control groups without a mount: rules, formats and errors beside the kernel's own, figures of real work."""

from __future__ import annotations

import ctypes
import errno
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from kins.cgroupfs import rules
from kins.cgroupfs.control_groups import CONTROLLERS_V1, ControlGroups, Writer
from kins.cgroupfs.enforcement import Enforcement
from kins.cgroupfs.files import version_1, version_2
from kins.cgroupfs.files.declaration import ControlFile
from kins.cgroupfs.limits import OwnLimits, TreeLimits
from kins.cgroupfs.machine import format_list, parse_list
from kins.cgroupfs.model import Group
from kins.cgroupfs.nodes import Directory, GroupDirectory, GroupFile, Node, Nodes
from kins.cgroupfs.processes import parse_stat
from kins.cgroupfs.views import MOUNT_LINE, as_if_mounted, as_the_kernels, mount_table, process_groups
from kins.errors import KinsError

FILES = {1: version_1(), 2: version_2()}
# Where the kernel's only hierarchy of version 2 is, beside those of version 1.
KERNELS_UNIFIED = "unified"
KERNEL = Path("/sys/fs/cgroup")


# What a test has made is closed after it: each holds a descriptor of every process.
MADE: list[Groups] = []


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    """Close the control groups that a test has made."""
    yield
    while MADE:
        MADE.pop().all.close()


class Groups:
    """Control groups of a version, used by path."""

    def __init__(self, state: Path | None = None, version: int = 1) -> None:
        self.all = ControlGroups(version, state)
        self.all.load()
        self.nodes = Nodes(self.all, FILES[version])
        MADE.append(self)

    def make(self, path: str) -> Group:
        """mkdir."""
        directory, _, name = path.rpartition("/")
        hierarchy, place = self.nodes.place(self.nodes.find(directory), name)
        return self.all.make(hierarchy, place, 0o755, 0, 0)

    def group(self, path: str) -> Group:
        """The group that a directory is."""
        node = self.nodes.find(path)
        assert isinstance(node, GroupDirectory)
        return node.group

    def read(self, path: str) -> str:
        """cat."""
        node = self.nodes.find(path)
        assert isinstance(node, GroupFile)
        assert node.file.read is not None
        return node.file.read(self.all, node.group)

    def write(self, path: str, text: str) -> None:
        """echo."""
        node = self.nodes.find(path)
        assert isinstance(node, GroupFile)
        assert node.file.write is not None
        self.all.tracker.discover()
        node.file.write(self.all, node.group, text, Writer(os.getpid()))

    def listed(self, path: str) -> list[str]:
        """ls."""
        node = self.nodes.find(path)
        assert isinstance(node, GroupDirectory)
        return node.names()


@pytest.fixture
def groups() -> Groups:
    """New control groups; every process is in the roots."""
    return Groups()


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process that does nothing."""
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


# Beside the kernel


HIERARCHIES = [name for name in (*CONTROLLERS_V1, KERNELS_UNIFIED) if (KERNEL / name / "cgroup.procs").exists()]


@pytest.fixture(params=HIERARCHIES)
def kernels(request: pytest.FixtureRequest) -> Iterator[Path]:
    """A new group of the kernel's, in each hierarchy that is mounted here."""
    group = KERNEL / request.param / f"kins-test-{secrets.token_hex(4)}"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no group can be made here: {error}")
    yield group
    group.rmdir()


# What only some kernels have, by their configuration or by a patch of whoever runs the machine (shown_ram).
CONFIGURED = (
    "blkio.bfq.",
    "cpu.rt_",
    "cpu.idle",
    "cpu.cfs_burst_us",
    "memory.kmem.",
    "memory.shown_ram_in_bytes",
    "cpu.stat.local",
    "pids.peak",
)
# In version 2 it tells who waits for what, which nobody else knows, and of each controller that it is attached to.
NOT_OURS = ("cgroup.pressure", "cpu.pressure", "io.pressure", "memory.pressure", "cgroup.stat.local")
# What the kernel charges to a group although nobody is in it.
MOVING = ("memory.kmem.slabinfo", "memory.pressure_level", "cgroup.stat")


@dataclass(frozen=True)
class Twins:
    """A group of ours and one of the kernel's that are new; ours is at `path`."""

    groups: Groups
    path: str
    kernels: Path
    files: dict[str, ControlFile]


@pytest.fixture
def twins(kernels: Path) -> Twins:
    """The same group twice."""
    controller = kernels.parent.name
    groups = Groups(version=2 if controller == KERNELS_UNIFIED else 1)
    if controller != KERNELS_UNIFIED:
        groups.make(f"/{controller}/group")
        return Twins(groups, f"/{controller}/group", kernels, FILES[1][controller])
    passed_on = (kernels.parent / "cgroup.subtree_control").read_text().split()
    groups.write("/cgroup.subtree_control", " ".join(f"+{name}" for name in passed_on))
    groups.make("/group")
    return Twins(groups, "/group", kernels, FILES[2][""])


def test_files_are_those_of_the_kernel(twins: Twins) -> None:
    ours = set(twins.groups.listed(twins.path))
    theirs = {path.name for path in twins.kernels.iterdir()}
    differing = {name for name in ours ^ theirs if not name.startswith((*CONFIGURED, *NOT_OURS))}
    assert differing == set()
    for name in ours & theirs:
        assert twins.files[name].mode == (twins.kernels / name).stat().st_mode & 0o777, name


def test_contents_are_those_of_the_kernel(twins: Twins) -> None:
    compared = 0
    for path in twins.kernels.iterdir():
        file = twins.files.get(path.name)
        if file is None or file.read is None or path.name in MOVING:
            continue
        assert twins.groups.read(f"{twins.path}/{path.name}") == path.read_text(), path.name
        compared += 1
    assert compared > 3


WRITES = {
    "cpu": {
        "cpu.shares": ("512", "1", "0", "300000", "-1", "x", "0x200", "010", ""),
        "cpu.cfs_quota_us": ("-1", "50000", "10", "0", "-7", "x"),
        "cpu.cfs_period_us": ("50000", "10", "2000000", "x", "-1"),
        "cgroup.clone_children": ("1", "0", "7", "x"),
        "notify_on_release": ("1", "0"),
        "cgroup.procs": ("x", "-1", "4194303"),
    },
    "cpuacct": {"cpuacct.usage": ("0", "1")},
    "cpuset": {
        "cpuset.cpus": ("0", "0-1", "9999", "x", "1-0", ""),
        "cpuset.mems": ("0", "63", "x"),
        "cpuset.sched_load_balance": ("0", "1"),
        "cpuset.sched_relax_domain_level": ("2", "-1", "9", "x"),
    },
    "memory": {
        "memory.limit_in_bytes": ("100M", "104857601", "-1", "1g", "x", "-5", ""),
        "memory.memsw.limit_in_bytes": ("200M", "-1"),
        "memory.soft_limit_in_bytes": ("64k", "-1", "x"),
        "memory.swappiness": ("10", "200", "201", "-1", "x"),
        "memory.oom_control": ("1", "0", "2", "x"),
        "memory.use_hierarchy": ("1", "0"),
        "memory.move_charge_at_immigrate": ("0", "1"),
        "memory.failcnt": ("0",),
        "memory.max_usage_in_bytes": ("0",),
        "memory.force_empty": ("0",),
        "cgroup.event_control": ("x", "0 1", "9999 9998"),
    },
    "pids": {"pids.max": ("100", "max", "0", "-1", "x", "4194305", "4194304")},
    "devices": {
        "devices.deny": ("a", "c 1:3 r", "x", "b 8:0 rwm"),
        "devices.allow": ("c 1:3 rwm", "c 5:* m", "c 1:3 x", "z 1:1 r", "c 1 r", "a *:* rwm"),
    },
    "freezer": {"freezer.state": ("FROZEN", "THAWED", "x")},
    KERNELS_UNIFIED: {
        "cgroup.freeze": ("1", "0", "2", "x"),
        "cgroup.kill": ("2", "x", "-1"),
        "cgroup.type": ("domain", "x"),
        "cgroup.subtree_control": ("+xyz", "x", "cpu", ""),
        "cgroup.max.depth": ("1", "max", "-1", "x"),
        "cgroup.max.descendants": ("1", "max", "-1", "x"),
        "cgroup.procs": ("x", "-1", "4194303"),
        "cgroup.threads": ("x", "-1", "1"),
        "hugetlb.2MB.max": ("2097152", "max", "x"),
    },
    "blkio": {"blkio.throttle.read_bps_device": ("x", "8"), "blkio.bfq.weight": ("1", "1000", "1001", "0", "x")},
}


# What shows the effect of files that cannot be read.
SHOWN = {"devices.allow": "devices.list", "devices.deny": "devices.list"}


def test_writes_are_answered_as_by_the_kernel(twins: Twins) -> None:
    differing = {}
    for name, texts in WRITES[twins.kernels.parent.name].items():
        if not (twins.kernels / name).exists():
            continue
        for text in texts:
            theirs = answer(partial(write_once, twins.kernels / name), (twins.kernels / shown(name)).read_text, text)
            ours = answer(
                partial(twins.groups.write, f"{twins.path}/{name}"),
                partial(twins.groups.read, f"{twins.path}/{shown(name)}"),
                text,
            )
            if ours != theirs:
                differing[name, text] = (ours, theirs)
    assert differing == {}


def shown(name: str) -> str:
    """Where the effect of writing is seen."""
    return SHOWN.get(name, name if any(name in files and files[name].read for files in READABLE) else "cgroup.procs")


READABLE = [*FILES[1].values(), *FILES[2].values()]


def answer(write: Callable[[str], object], read: Callable[[], str], text: str) -> str:
    """What writing gives: the error, or what is read afterwards."""
    try:
        write(text)
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return read()


def write_once(path: Path, text: str) -> None:
    """One write(2), which is what counts in control groups."""
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.write(descriptor, f"{text}\n".encode())
    finally:
        os.close(descriptor)


# Rules


@contextmanager
def refused(number: int) -> Iterator[None]:
    """What is done in the block ends with this error."""
    with pytest.raises(OSError, match=rf"^\[Errno {number}\]"):
        yield


def test_groups_are_made_and_removed(groups: Groups, sleeper: subprocess.Popen[bytes]) -> None:
    outer, inner = groups.make("/memory/a"), groups.make("/memory/a/b")
    groups.write("/memory/a/b/cgroup.procs", str(sleeper.pid))
    for group in (outer, inner, outer.hierarchy.root):
        with refused(errno.EBUSY):
            groups.all.remove(group)
    with pytest.raises(FileExistsError):
        groups.make("/memory/a")
    with pytest.raises(FileNotFoundError):
        groups.make("/memory/x/y")
    # A zombie is in nobody's way.
    sleeper.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)
    groups.all.remove(inner)
    groups.all.remove(outer)
    assert groups.listed("/memory")[-1] == "tasks" or "a" not in groups.listed("/memory")


def test_an_open_file_of_a_removed_group_answers_as_the_kernels(groups: Groups) -> None:
    group = groups.make("/memory/a")
    number = groups.nodes.find("/memory/a/tasks").number
    assert groups.nodes.numbered(number) == groups.nodes.find("/memory/a/tasks")
    groups.all.remove(group)
    # Nor is it taken for that of a new group of the same name.
    groups.make("/memory/a")
    with refused(errno.ENODEV):
        groups.nodes.numbered(number)


@pytest.mark.parametrize("version", [1, 2])
def test_every_node_is_found_again_by_its_number(version: int) -> None:
    groups = Groups(version=version)
    groups.make("/memory/a" if version == 1 else "/a")
    found: dict[int, Node] = {}

    def walk(node: Node) -> None:
        assert found.setdefault(node.number, node) is node, "two of one number"
        assert groups.nodes.numbered(node.number).number == node.number
        if isinstance(node, Directory):
            for name in node.names():
                walk(groups.nodes.child(node, name))

    walk(groups.nodes.root)
    for path in ("/.kins", "/.kins/processes/1"):
        walk(groups.nodes.find(path))
    assert len(found) > (150 if version == 1 else 30)


def test_a_child_is_where_its_parent_was_when_it_was_made(groups: Groups) -> None:
    groups.make("/pids/first")
    groups.make("/pids/second")
    with subprocess.Popen(["sh", "-c", "sleep 60 & sleep 60 & wait"]) as shell:
        try:
            children = wait_for_children(shell.pid, 2)
            groups.write("/pids/first/cgroup.procs", str(shell.pid))
            assert groups.read("/pids/first/cgroup.procs") == f"{shell.pid}\n"
            for child in children:
                groups.write("/pids/second/cgroup.procs", str(child))
            assert groups.read("/pids/second/cgroup.procs").split() == [str(child) for child in children]
            assert groups.read("/pids/second/pids.current") == "2\n"
        finally:
            for pid in (*children, shell.pid):
                os.kill(pid, signal.SIGKILL)


def wait_for_children(pid: int, count: int) -> list[int]:
    """The children of a process, when there are as many."""
    deadline = time.monotonic() + 10
    while len(found := children_of(pid)) < count:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return found


def children_of(pid: int) -> list[int]:
    """The children of a process."""
    return sorted(int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split())


# Answers each line with the pid of a new process: a child of its own, or of its parent (clone(2), CLONE_PARENT).
CLONER = """
import ctypes, os, sys
for line in sys.stdin:
    pid = ctypes.CDLL(None).syscall(56, {"sibling": 0x8000, "child": 0}[line.strip()] | 17, 0, 0, 0, 0)
    if pid == 0:
        import time
        time.sleep(60)
        os._exit(0)
    print(pid, flush=True)
"""


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the number of clone(2) below is that of x86_64")
def test_siblings_made_by_a_moved_process_are_with_it(groups: Groups) -> None:
    """runc's init: made with CLONE_PARENT by a process that was moved, so that it is runc's child."""
    groups.make("/pids/container")
    command = [sys.executable, "-c", CLONER]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as stage:
        assert stage.stdin is not None
        assert stage.stdout is not None
        groups.write("/pids/container/cgroup.procs", str(stage.pid))
        made = []
        for kind in (b"sibling\n", b"child\n"):
            stage.stdin.write(kind)
            made.append(int(stage.stdout.readline()))
        other = subprocess.Popen(["sleep", "60"])
        try:
            assert groups.read("/pids/container/cgroup.procs").split() == sorted(map(str, [stage.pid, *made]), key=int)
        finally:
            for pid in (*made, stage.pid, other.pid):
                os.kill(pid, signal.SIGKILL)
            other.wait()
            os.waitpid(made[0], 0)


def test_the_dead_are_not_listed(groups: Groups, sleeper: subprocess.Popen[bytes]) -> None:
    """Not even while figures are not old enough to look again: who reads the list may kill by it."""
    groups.make("/pids/group")
    groups.write("/pids/group/cgroup.procs", str(sleeper.pid))
    groups.all.tracker.refresh(0)
    assert groups.read("/pids/group/cgroup.procs") == f"{sleeper.pid}\n"
    sleeper.kill()
    sleeper.wait()
    assert groups.read("/pids/group/cgroup.procs") == ""


def test_an_orphan_keeps_its_group(groups: Groups) -> None:
    groups.make("/pids/group")
    with subprocess.Popen(["sh", "-c", "sleep 60 & echo $!; read x"], stdin=-1, stdout=-1) as shell:
        assert shell.stdout is not None
        orphan = int(shell.stdout.readline())
        groups.all.tracker.refresh(0)
        process = groups.all.tracker.process(shell.pid)
        assert process is not None
        groups.write("/pids/group/cgroup.procs", str(orphan))
        shell.kill()
    groups.all.tracker.refresh(0)
    assert groups.read("/pids/group/cgroup.procs") == f"{orphan}\n"
    os.kill(orphan, signal.SIGKILL)


# The leader of a session: an orphan before and one after a child that is moved and then leaves the session.
SESSION = """\
import os, signal, sys, time
def leave(*_):
    os.setsid()
    print("left", flush=True)
def orphan():
    if os.fork() == 0:
        child = os.fork()
        if child == 0:
            time.sleep(60)
        print(child, flush=True)
        os._exit(0)
    os.wait()
orphan()
signal.signal(signal.SIGUSR1, leave)
if os.fork() == 0:
    print(os.getpid(), flush=True)
    time.sleep(60)
sys.stdin.readline()
orphan()
sys.stdin.readline()
"""


def test_orphans_of_a_session_are_not_put_where_one_went_that_left_it(tmp_path: Path) -> None:
    """A server that starts anew meets containers' shims, which are orphans, after the containers that it remembers."""
    before = Groups(tmp_path / "state")
    before.make("/pids/container")
    moved = []
    with subprocess.Popen(
        [sys.executable, "-c", SESSION], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    ) as leader:
        assert leader.stdin is not None
        assert leader.stdout is not None
        try:
            moved += [int(leader.stdout.readline()), int(leader.stdout.readline())]
            before.write("/pids/container/cgroup.procs", str(moved[1]))
            os.kill(moved[1], signal.SIGUSR1)
            assert leader.stdout.readline() == b"left\n"
            leader.stdin.write(b"go on\n")
            leader.stdin.flush()
            moved.append(int(leader.stdout.readline()))
            again = Groups(tmp_path / "state")
            assert again.read("/pids/container/cgroup.procs") == f"{moved[1]}\n"
        finally:
            for pid in (leader.pid, *moved):
                os.kill(pid, signal.SIGKILL)


def test_cpu_of_ended_processes_stays(groups: Groups) -> None:
    """Also of those that live shorter than a sample, and those whose parent is in another group."""
    groups.make("/cpuacct/outer")
    groups.make("/cpuacct/outer/inner")
    work = [sys.executable, "-c", "import time\nwhile time.process_time() < 0.3: pass"]
    with subprocess.Popen(
        [sys.executable, "-c", f"import subprocess\nsubprocess.run({work})\ninput()"], stdin=-1
    ) as parent:
        groups.write("/cpuacct/outer/cgroup.procs", str(parent.pid))
        (child,) = wait_for_children(parent.pid, 1)
        groups.write("/cpuacct/outer/inner/cgroup.procs", str(child))
        while children_of(parent.pid):
            time.sleep(0.01)
        groups.all.tracker.refresh(0)
        inner = int(groups.read("/cpuacct/outer/inner/cpuacct.usage"))
        outer = int(groups.read("/cpuacct/outer/cpuacct.usage"))
        parent.communicate(b"\n")
    assert 280_000_000 <= inner <= 600_000_000
    assert inner <= outer <= inner + 300_000_000
    by_processor = sum(map(int, groups.read("/cpuacct/outer/cpuacct.usage_percpu").split()))
    assert outer <= by_processor <= int(groups.read("/cpuacct/outer/cpuacct.usage"))
    groups.all.remove(groups.group("/cpuacct/outer/inner"))
    assert int(groups.read("/cpuacct/outer/cpuacct.usage")) >= outer


def test_root_figures_are_the_machines(groups: Groups) -> None:
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n")[0].split()[1:]]
    ticks = sum(fields[:3]) + sum(fields[5:7])
    assert abs(int(groups.read("/cpuacct/cpuacct.usage")) / 10**7 - ticks) < 200
    memory = int(groups.read("/memory/memory.usage_in_bytes"))
    assert 0 < memory < int(Path("/proc/meminfo").read_text().split()[1]) * 1024


def test_memory_of_a_group_is_that_of_its_processes(groups: Groups) -> None:
    groups.make("/memory/group")
    held = 64 << 20
    program = f"held = bytearray(b'x') * {held}\nprint(flush=True)\ninput()"
    with subprocess.Popen([sys.executable, "-c", program], stdin=-1, stdout=-1) as process:
        assert process.stdout is not None
        process.stdout.readline()
        groups.write("/memory/group/cgroup.procs", str(process.pid))
        rows = dict(line.split() for line in groups.read("/memory/group/memory.stat").splitlines())
        usage = int(groups.read("/memory/group/memory.usage_in_bytes"))
        process.communicate(b"\n")
    assert held < int(rows["rss"]) <= usage < held + (64 << 20)
    assert int(rows["total_rss"]) == int(rows["rss"])
    assert usage <= int(groups.read("/memory/group/memory.max_usage_in_bytes"))


def test_freezer_stops_and_continues(groups: Groups, sleeper: subprocess.Popen[bytes]) -> None:
    groups.make("/freezer/group")
    groups.make("/freezer/group/inner")
    groups.write("/freezer/group/inner/cgroup.procs", str(sleeper.pid))
    groups.write("/freezer/group/freezer.state", "FROZEN")
    wait_for(lambda: groups.read("/freezer/group/freezer.state") == "FROZEN\n")
    assert state_of(sleeper.pid) == "T"
    assert groups.read("/freezer/group/inner/freezer.parent_freezing") == "1\n"
    groups.write("/freezer/group/freezer.state", "THAWED")
    wait_for(lambda: state_of(sleeper.pid) == "S")


def wait_for(condition: object) -> None:
    """Wait until something is true."""
    assert callable(condition)
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def state_of(pid: int) -> str:
    """The letter of a process's state."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_a_cpuset_without_processors_takes_nobody(groups: Groups, sleeper: subprocess.Popen[bytes]) -> None:
    groups.make("/cpuset/group")
    with refused(errno.ENOSPC):
        groups.write("/cpuset/group/cgroup.procs", str(sleeper.pid))
    for name in ("cpuset.cpus", "cpuset.mems"):
        groups.write(f"/cpuset/group/{name}", groups.read(f"/cpuset/{name}").strip())
    groups.write("/cpuset/group/cgroup.procs", str(sleeper.pid))


def test_a_group_has_no_more_than_its_parents(groups: Groups) -> None:
    groups.make("/cpu/a")
    groups.make("/cpu/a/b")
    groups.write("/cpu/a/cpu.cfs_quota_us", "50000")
    with refused(errno.EINVAL):
        groups.write("/cpu/a/b/cpu.cfs_quota_us", "60000")
    groups.make("/devices/a")
    groups.write("/devices/a/devices.deny", "a")
    groups.make("/devices/a/b")
    assert groups.read("/devices/a/b/devices.list") == ""
    with pytest.raises(PermissionError):
        groups.write("/devices/a/b/devices.allow", "c 1:3 r")


# Version 2


@pytest.fixture
def unified() -> Groups:
    """New control groups of version 2."""
    return Groups(version=2)


def test_files_come_with_their_controllers(unified: Groups) -> None:
    unified.make("/a")
    assert not {name for name in unified.listed("/a") if name.startswith("memory.")}
    unified.write("/cgroup.subtree_control", "+memory +pids")
    assert {"memory.max", "pids.max"} <= set(unified.listed("/a"))
    assert unified.read("/a/cgroup.controllers") == "memory pids\n"
    with pytest.raises(FileNotFoundError):
        unified.write("/a/cgroup.subtree_control", "+cpu")
    unified.write("/a/cgroup.subtree_control", "+memory")
    with refused(errno.EBUSY):
        unified.write("/cgroup.subtree_control", "-memory")


def test_a_group_has_processes_or_passes_controllers_on(unified: Groups, sleeper: subprocess.Popen[bytes]) -> None:
    unified.write("/cgroup.subtree_control", "+memory")
    unified.make("/a")
    unified.make("/b")
    unified.write("/a/cgroup.procs", str(sleeper.pid))
    unified.write("/b/cgroup.subtree_control", "+memory")
    for path, text in (("/a/cgroup.subtree_control", "+memory"), ("/b/cgroup.procs", str(sleeper.pid))):
        with refused(errno.EBUSY):
            unified.write(path, text)
    assert unified.read("/a/cgroup.events") == "populated 1\nfrozen 0\n"
    assert unified.read("/b/cgroup.events") == "populated 0\nfrozen 0\n"


def test_limits_of_version_2(unified: Groups) -> None:
    unified.write("/cgroup.subtree_control", "+cpu +cpuset +io +memory +pids")
    unified.make("/a")
    for name, text, kept in (
        ("memory.max", "10M", "10485760"),
        ("memory.max", "max", "max"),
        ("memory.low", "4097", "4096"),
        ("cpu.max", "50000", "50000 100000"),
        ("cpu.max", "max 20000", "max 20000"),
        ("pids.max", "7", "7"),
        ("io.max", "8:0 rbps=1000 wiops=max", "8:0 rbps=1000 wbps=max riops=max wiops=max"),
        ("io.max", "8:0 rbps=max", ""),
        ("io.weight", "8:16 50", "default 100\n8:16 50"),
        ("cpuset.cpus", "0", "0"),
    ):
        unified.write(f"/a/{name}", text)
        assert unified.read(f"/a/{name}").strip() == kept
    assert unified.read("/a/cpuset.cpus.effective") == "0\n"
    for name, text, number in (
        ("cpu.weight", "0", errno.ERANGE),
        ("cpu.max", "5", errno.EINVAL),
        ("memory.max", "x", errno.EINVAL),
        ("memory.oom.group", "2", errno.EINVAL),
        ("io.weight", "10001", errno.ERANGE),
        ("io.max", "8:0 x=1", errno.EINVAL),
    ):
        with refused(number):
            unified.write(f"/a/{name}", text)


def test_depth_is_limited(unified: Groups) -> None:
    unified.make("/a")
    unified.write("/a/cgroup.max.depth", "1")
    unified.make("/a/b")
    with pytest.raises(BlockingIOError):
        unified.make("/a/b/c")
    unified.write("/cgroup.max.descendants", "2")
    with pytest.raises(BlockingIOError):
        unified.make("/x")


def test_kill_reaches_the_whole_subtree(unified: Groups, sleeper: subprocess.Popen[bytes]) -> None:
    unified.make("/a")
    unified.make("/a/b")
    unified.write("/a/b/cgroup.procs", str(sleeper.pid))
    unified.write("/a/cgroup.kill", "1")
    assert sleeper.wait(timeout=10) == -signal.SIGKILL


# Enforcement

HOLDER = "import sys\nheld = bytearray(b'x') * int(sys.argv[1])\nprint(flush=True)\nsys.stdin.read()"


@contextmanager
def holding(size: int) -> Iterator[subprocess.Popen[bytes]]:
    """A process that holds that many bytes of memory and more, until the block ends."""
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(size)], stdin=-1, stdout=-1) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


@pytest.mark.parametrize("version", [1, 2])
def test_the_largest_process_is_killed(tmp_path: Path, version: int) -> None:
    groups = Groups(version=version)
    prefix = "/memory" if version == 1 else ""
    if version == 2:
        groups.write("/cgroup.subtree_control", "+memory")
    groups.make(f"{prefix}/pod")
    if version == 2:
        groups.write("/pod/cgroup.subtree_control", "+memory")
    groups.make(f"{prefix}/pod/container")
    groups.write(f"{prefix}/pod/{'memory.limit_in_bytes' if version == 1 else 'memory.max'}", "100M")
    told = tmp_path / "told"
    tell = ["sh", "-c", f"echo $1 $(sed 's/.*) \\(.\\).*/\\1/' /proc/$(cat {tmp_path}/pid)/stat) >> {told}", "sh"]
    source = OwnLimits(groups.all)
    enforcement = Enforcement(source, tell)
    event = os.eventfd(0, os.EFD_NONBLOCK)
    with holding(30 << 20) as small, holding(90 << 20) as large:
        (tmp_path / "pid").write_text(str(large.pid))
        for process in (small, large):
            assert all(enforcement.check(limited) < 1 for limited in source.limited())
            groups.write(f"{prefix}/pod/container/cgroup.procs", str(process.pid))
        if version == 1:
            groups.all.listen(groups.group("/memory/pod/container"), os.dup(event))
        (limited,) = source.limited()
        assert enforcement.check(limited) > 1
        assert large.wait(timeout=10) == -signal.SIGKILL
        assert small.poll() is None
    # Whoever is told finds it stopped and not yet ended.
    assert told.read_text() == "container T\n"
    if version == 1:
        assert os.eventfd_read(event) == 1
        assert "oom_kill 1" in groups.read("/memory/pod/container/memory.oom_control")
        assert groups.read("/memory/pod/memory.failcnt") == "1\n"
    else:
        assert "oom_kill 1" in groups.read("/pod/memory.events")
        assert "oom_kill 0" in groups.read("/pod/memory.events.local")
        assert "oom_kill 1" in groups.read("/pod/container/memory.events.local")
    os.close(event)


def test_a_whole_group_is_killed(unified: Groups, sleeper: subprocess.Popen[bytes]) -> None:
    unified.write("/cgroup.subtree_control", "+memory")
    unified.make("/a")
    unified.write("/a/memory.max", "20M")
    unified.write("/a/memory.oom.group", "1")
    unified.write("/a/cgroup.procs", str(sleeper.pid))
    with holding(40 << 20) as large:
        unified.write("/a/cgroup.procs", str(large.pid))
        source = OwnLimits(unified.all)
        (limited,) = source.limited()
        Enforcement(source).check(limited)
        assert [process.wait(timeout=10) for process in (large, sleeper)] == [-signal.SIGKILL] * 2


def test_memory_of_files_is_no_reason_to_kill(groups: Groups, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(40 << 20))
    program = f"import mmap\nf = open('{tmp_path}/file', 'rb')\nm = mmap.mmap(f.fileno(), 0, prot=1)\nsum(m[::4096])\n"
    groups.make("/memory/a")
    groups.write("/memory/a/memory.limit_in_bytes", "30M")
    command = [sys.executable, "-c", f"{program}print(flush=True)\ninput()"]
    with subprocess.Popen(command, stdin=-1, stdout=-1) as process:
        assert process.stdout is not None
        process.stdout.readline()
        groups.write("/memory/a/cgroup.procs", str(process.pid))
        source = OwnLimits(groups.all)
        (limited,) = source.limited()
        assert Enforcement(source).check(limited) > 1
        assert process.poll() is None
        process.communicate(b"\n")
    assert process.returncode == 0


def test_limits_of_a_tree_of_others(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    """Files as gVisor's own control groups have them; there is no such tree outside of gVisor."""
    for name, limit, pids in (("", 2**63 - 4096, ""), ("pod", 2**63 - 4096, ""), ("pod/one", 1 << 20, sleeper.pid)):
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / "memory.limit_in_bytes").write_text(f"{limit}\n")
        (tmp_path / name / "cgroup.procs").write_text(f"{pids}\n")
    source = TreeLimits(tmp_path)
    (limited,) = source.limited()
    assert (limited.path, limited.limit, limited.pids) == (f"{tmp_path}/pod/one", 1 << 20, {sleeper.pid})
    assert source.group_of(limited, sleeper.pid) == f"{tmp_path}/pod/one"
    assert [stat.pid for stat in source.stats(limited)] == [sleeper.pid]


# State


def test_state_is_kept(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    """As left by a server that was killed, and by one that was stopped."""
    file = tmp_path / "state"
    groups = Groups(file)
    groups.make("/memory/a")
    groups.make("/memory/a/b")
    groups.make("/memory/gone")
    groups.all.remove(groups.group("/memory/gone"))
    groups.write("/memory/a/memory.limit_in_bytes", "1M")
    groups.write("/memory/a/b/cgroup.procs", str(sleeper.pid))
    groups.group("/memory/a").usage.charge(1, 5, 7)
    for kept in ("killed", "stopped"):
        if kept == "stopped":
            groups.all.close()
            MADE.remove(groups)
        with file.open("ab") as torn:
            torn.write(b'["make","mem')
        later = Groups(file)
        assert later.read("/memory/a/memory.limit_in_bytes") == "1048576\n"
        assert later.read("/memory/a/b/cgroup.procs") == f"{sleeper.pid}\n"
        assert "gone" not in later.listed("/memory")
        groups = later


def test_state_of_another_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state").write_text('["format",99]\n')
    with pytest.raises(KinsError) as refused:
        Groups(tmp_path / "state")
    assert refused.value.code == "state-damaged"


# What a tracer shows


def test_views(groups: Groups, sleeper: subprocess.Popen[bytes]) -> None:
    groups.make("/memory/a")
    groups.write("/memory/a/cgroup.procs", str(sleeper.pid))
    text = process_groups(groups.all, sleeper.pid)
    assert text is not None
    lines = dict(line.split(":", 2)[1:] for line in text.splitlines())
    assert lines == {name: "/a" if name == "memory" else "/" for name in CONTROLLERS_V1}
    assert process_groups(groups.all, 2**22) is None


def test_mounts_are_shown_as_the_kernels() -> None:
    mount = MOUNT_LINE.fullmatch("42 27 0:99 / /sys/fs/cgroup rw,nosuid shared:3 - fuse kins rw,user_id=0")
    assert mount is not None
    first, *others = as_the_kernels(1, mount, 900_000)
    assert first == "42 27 0:900000 / /sys/fs/cgroup rw,nosuid shared:3 - tmpfs tmpfs rw,mode=755"
    assert [line.rpartition(",")[2] for line in others] == list(CONTROLLERS_V1)
    assert others[3] == "900003 42 0:900004 / /sys/fs/cgroup/memory rw,nosuid shared:3 - cgroup cgroup rw,memory"
    bound = MOUNT_LINE.fullmatch("50 27 0:99 /memory/a/b /container/memory ro - fuse kins rw")
    assert bound is not None
    assert as_the_kernels(1, bound, 1) == ["50 27 0:900004 /a/b /container/memory ro - cgroup cgroup rw,memory"]
    assert as_the_kernels(2, mount, 1)[0].endswith("shared:3 - cgroup2 cgroup2 rw")


def test_control_groups_of_the_kernel_below_the_mount_are_left_out() -> None:
    lines = [
        "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw",
        "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu",
        "33 23 0:30 / /elsewhere rw - cgroup cgroup rw,cpu",
        "42 31 0:99 / /sys/fs/cgroup rw - fuse kins rw",
    ]
    shown = as_if_mounted(1, lines, "0:99").splitlines()
    assert shown[0] == lines[2]
    assert len(shown) == 2 + len(CONTROLLERS_V1)


def test_the_table_of_mounts_is_the_kernels_where_nothing_is_ours() -> None:
    ours = mount_table(Path("/proc/self/mountinfo").read_text()).splitlines()
    theirs = Path("/proc/self/mounts").read_text().splitlines()
    assert [line.split()[1:3] for line in ours] == [line.split()[1:3] for line in theirs]
    shown = mount_table("48 47 0:9 / /sys/fs/cgroup/cpu rw,nosuid shared:1 - cgroup cgroup rw,cpu\n")
    assert shown == "cgroup /sys/fs/cgroup/cpu cgroup rw,nosuid,cpu 0 0\n"


def test_rules_name_every_directory_before_their_parent() -> None:
    types = [rule["statfs"] for rule in rules("/sys/fs/cgroup", 1) if "statfs" in rule]
    paths = [each["path"] for each in types if isinstance(each, dict)]
    assert paths == [*(f"/sys/fs/cgroup/{name}" for name in CONTROLLERS_V1), "/sys/fs/cgroup"]


# Reading


@pytest.mark.parametrize("text", ["0", "0-3", "0,2-4,7"])
def test_lists(text: str) -> None:
    assert format_list(parse_list(text)) == text


@pytest.mark.parametrize("text", ["3-1", "x", "-1", "1-"])
def test_bad_lists(text: str) -> None:
    with pytest.raises(ValueError, match="not a list"):
        parse_list(text)


def test_a_name_may_hold_anything() -> None:
    name = "a) R 1 (b"
    library = ctypes.CDLL(None)
    before = Path("/proc/self/comm").read_text().strip()
    library.prctl(15, name.encode())
    try:
        stat = parse_stat(Path("/proc/self/stat").read_text())
    finally:
        library.prctl(15, before.encode())
    assert (stat.pid, stat.name, stat.parent) == (os.getpid(), name, os.getppid())
    assert stat.processor is not None
