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
from collections.abc import Iterator
from pathlib import Path

import pytest

from kins.cgroupfs import rules
from kins.cgroupfs.control_groups import CONTROLLERS_V1, ControlGroups, Writer
from kins.cgroupfs.files import version_1
from kins.cgroupfs.machine import format_list, parse_list
from kins.cgroupfs.model import Group
from kins.cgroupfs.nodes import GroupDirectory, GroupFile, Paths
from kins.cgroupfs.processes import parse_stat
from kins.cgroupfs.views import MOUNT_LINE, as_if_mounted, as_the_kernels, process_groups
from kins.errors import KinsError

FILES = version_1()
KERNEL = Path("/sys/fs/cgroup")


class Groups:
    """Control groups of version 1, used by path."""

    def __init__(self, state: Path | None = None) -> None:
        self.all = ControlGroups(1, state)
        self.all.load()
        self.paths = Paths(self.all, FILES)

    def make(self, path: str) -> Group:
        """mkdir."""
        hierarchy, place = self.paths.place(path)
        return self.all.make(hierarchy, place, 0o755, 0, 0)

    def read(self, path: str) -> str:
        """cat."""
        node = self.paths.find(path)
        assert isinstance(node, GroupFile)
        assert node.file.read is not None
        return node.file.read(self.all, node.group)

    def write(self, path: str, text: str) -> None:
        """echo."""
        node = self.paths.find(path)
        assert isinstance(node, GroupFile)
        assert node.file.write is not None
        self.all.tracker.discover()
        node.file.write(self.all, node.group, text, Writer(os.getpid()))

    def listed(self, path: str) -> list[str]:
        """ls."""
        node = self.paths.find(path)
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


@pytest.fixture(params=[name for name in CONTROLLERS_V1 if (KERNEL / name / "cgroup.procs").exists()])
def kernels(request: pytest.FixtureRequest) -> Iterator[Path]:
    """A new group of the kernel's, in each hierarchy of version 1 that is mounted here."""
    group = KERNEL / request.param / f"kins-test-{secrets.token_hex(4)}"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no group can be made here: {error}")
    yield group
    group.rmdir()


# What only some kernels have, by their configuration.
CONFIGURED = ("blkio.bfq.", "cpu.rt_", "cpu.idle", "cpu.cfs_burst_us", "memory.kmem.", "cpu.stat.local", "pids.peak")
# What the kernel charges to a group although nobody is in it.
MOVING = ("memory.kmem.slabinfo",)


def test_files_are_those_of_the_kernel(groups: Groups, kernels: Path) -> None:
    controller = kernels.parent.name
    groups.make(f"/{controller}/group")
    ours = set(groups.listed(f"/{controller}/group"))
    theirs = {path.name for path in kernels.iterdir()}
    differing = {name for name in ours ^ theirs if not name.startswith(CONFIGURED)}
    assert differing == set()
    for name in ours & theirs:
        assert FILES[controller][name].mode == (kernels / name).stat().st_mode & 0o777, name


def test_contents_are_those_of_the_kernel(groups: Groups, kernels: Path) -> None:
    controller = kernels.parent.name
    groups.make(f"/{controller}/group")
    compared = 0
    for path in kernels.iterdir():
        file = FILES[controller].get(path.name)
        if file is None or file.read is None or path.name in MOVING or path.name == "memory.pressure_level":
            continue
        assert groups.read(f"/{controller}/group/{path.name}") == path.read_text(), path.name
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
        "cgroup.event_control": ("x", "99 98"),
    },
    "pids": {"pids.max": ("100", "max", "0", "-1", "x", "4194305", "4194304")},
    "devices": {
        "devices.deny": ("a", "c 1:3 r", "x", "b 8:0 rwm"),
        "devices.allow": ("c 1:3 rwm", "c 5:* m", "c 1:3 x", "z 1:1 r", "c 1 r", "a *:* rwm"),
    },
    "freezer": {"freezer.state": ("FROZEN", "THAWED", "x")},
    "blkio": {"blkio.throttle.read_bps_device": ("x", "8"), "blkio.bfq.weight": ("1", "1000", "1001", "0", "x")},
}


def answer(write: Path | None, text: str, groups: Groups, path: str) -> str:
    """What writing gives: the error, or what is read afterwards."""
    try:
        if write is None:
            groups.write(path, text)
        else:
            # Not by a buffered file: each write(2) counts, and an empty one is none.
            descriptor = os.open(write, os.O_WRONLY)
            try:
                os.write(descriptor, f"{text}\n".encode())
            finally:
                os.close(descriptor)
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    file = FILES[path.split("/")[1]][path.rpartition("/")[2]]
    if file.read is None:
        name = path.rpartition("/")[2]
        shown = "devices.list" if name.startswith("devices.") else "cgroup.procs"
        path, write = path.replace(name, shown), write and write.with_name(shown)
    return groups.read(path) if write is None else write.read_text()


def test_writes_are_answered_as_by_the_kernel(groups: Groups, kernels: Path) -> None:
    controller = kernels.parent.name
    groups.make(f"/{controller}/group")
    differing: dict[tuple[str, str], tuple[str, str]] = {}
    for name, texts in WRITES[controller].items():
        if not (kernels / name).exists():
            continue
        for text in texts:
            theirs = answer(kernels / name, text, groups, f"/{controller}/group/{name}")
            ours = answer(None, text, groups, f"/{controller}/group/{name}")
            if ours != theirs:
                differing[name, text] = (ours, theirs)
    assert differing == {}


# Rules


def test_groups_are_made_and_removed(groups: Groups, sleeper: subprocess.Popen[bytes]) -> None:
    outer, inner = groups.make("/memory/a"), groups.make("/memory/a/b")
    groups.write("/memory/a/b/cgroup.procs", str(sleeper.pid))
    for group in (outer, inner, outer.hierarchy.root):
        with pytest.raises(OSError, match=group.path) as refused:
            groups.all.remove(group)
        assert refused.value.errno == errno.EBUSY
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
    assert sum(map(int, groups.read("/cpuacct/outer/cpuacct.usage_percpu").split())) == outer
    groups.all.remove(groups.paths.group("/cpuacct/outer/inner"))
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
    with pytest.raises(OSError, match="group") as refused:
        groups.write("/cpuset/group/cgroup.procs", str(sleeper.pid))
    assert refused.value.errno == errno.ENOSPC
    for name in ("cpuset.cpus", "cpuset.mems"):
        groups.write(f"/cpuset/group/{name}", groups.read(f"/cpuset/{name}").strip())
    groups.write("/cpuset/group/cgroup.procs", str(sleeper.pid))


def test_a_group_has_no_more_than_its_parents(groups: Groups) -> None:
    groups.make("/cpu/a")
    groups.make("/cpu/a/b")
    groups.write("/cpu/a/cpu.cfs_quota_us", "50000")
    with pytest.raises(OSError, match="Invalid"):
        groups.write("/cpu/a/b/cpu.cfs_quota_us", "60000")
    groups.make("/devices/a")
    groups.write("/devices/a/devices.deny", "a")
    groups.make("/devices/a/b")
    assert groups.read("/devices/a/b/devices.list") == ""
    with pytest.raises(PermissionError):
        groups.write("/devices/a/b/devices.allow", "c 1:3 r")


# State


def test_state_is_kept(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    """As left by a server that was killed, and by one that was stopped."""
    file = tmp_path / "state"
    groups = Groups(file)
    groups.make("/memory/a")
    groups.make("/memory/a/b")
    groups.make("/memory/gone")
    groups.all.remove(groups.paths.group("/memory/gone"))
    groups.write("/memory/a/memory.limit_in_bytes", "1M")
    groups.write("/memory/a/b/cgroup.procs", str(sleeper.pid))
    groups.paths.group("/memory/a").usage.charge(1, 5, 7)
    for kept in ("killed", "stopped"):
        if kept == "stopped":
            groups.all.close()
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
