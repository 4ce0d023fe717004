"""`kins run` without any privilege in its sandbox: for root with Docker's default capabilities, and for an ordinary
user."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
from tests.harness.environment import Environment
from tests.harness.gvisor import Sandbox
from tests.harness.native import Native
from tests.harness.rootfs import USER_ID
from tests.harness.wheel import kins_tree
from tests.scenario.cluster import eventually

NATIVE = [pytest.mark.native, pytest.mark.xdist_group("native")]
GVISOR = [pytest.mark.sandbox, pytest.mark.xdist_group("gvisor-9p")]

# What node software does first, by the programs of a small system. `sleep` outlives its parent.
TOUR = """
set -e
grep -q . /etc/hosts
echo 5 > /proc/sys/kernel/panic
cat /proc/sys/kernel/panic
dd if=/dev/kmsg of=/dev/null count=0 status=none
for each in cpu cpuacct cpuset memory pids; do mkdir -p /sys/fs/cgroup/$each/kubepods/pod; done
echo $$ > /sys/fs/cgroup/memory/kubepods/cgroup.procs
grep memory: /proc/self/cgroup | cut -d: -f3
cat /sys/fs/cgroup/cpuacct/cpuacct.usage_percpu > /dev/null
touch /var/lib/containerd/file /run/containerd/file /var/lib/kubelet/file
chown 1234:1234 /var/lib/containerd/file
mkdir -m 0 /var/lib/docker/closed
mount -t tmpfs tmpfs /mnt
umount /mnt
id -u
readlink /proc/self/ns/net
(setsid sleep 1000 > /dev/null 2>&1 &)
"""


@pytest.fixture(scope="module", params=[pytest.param("native", marks=NATIVE), pytest.param("gvisor", marks=GVISOR)])
def environment(request: pytest.FixtureRequest) -> Iterator[Environment]:
    """One that gives root no more than Docker does."""
    made = (
        Native(kins_tree(), capabilities="docker")
        if request.param == "native"
        else Sandbox(kins_tree(), root="9p", capabilities="docker")
    )
    with made as started:
        yield started


USERS = pytest.mark.parametrize("user", [pytest.param(0, id="root"), pytest.param(USER_ID, id="user")])


@USERS
def test_a_tour_leaves_nothing(environment: Environment, user: int) -> None:
    """The command is root, has control groups, settings and directories of its own, and the sandbox's network."""
    before = environment.snapshot()
    network = environment.output("readlink", "/proc/self/ns/net").strip()
    done = environment.kins("run", "--", "sh", "-c", f"{TOUR}exit 7", user=user, check=False)
    assert (done.returncode, done.stdout.split()) == (7, ["5", "/kubepods", "0", network]), done.stderr
    assert "note: this sandbox lets nobody change its network" in done.stderr
    assert environment.changes_since(before) == ""


@USERS
def test_a_killed_one_is_undone_by_down(environment: Environment, user: int) -> None:
    before = environment.snapshot()
    script = "setsid sleep 1000 & mkdir -p /sys/fs/cgroup/memory/kubepods; echo ready; wait"
    with environment.spawn(["kins", "run", "--", "sh", "-c", script], user=user) as running:
        running.line_with("ready")
        running.kill(signal.SIGKILL)
        assert running.finish(timeout=60)[0] == 137
    eventually(lambda: "is undone" in environment.kins("down", "--all", user=user).stderr)
    assert environment.changes_since(before) == ""


@USERS
def test_a_signal_reaches_the_command(environment: Environment, user: int) -> None:
    script = "trap 'echo caught; exit 5' TERM; echo ready; while :; do sleep 0.1; done"
    with environment.spawn(["kins", "run", "--", "sh", "-c", script], user=user) as running:
        running.line_with("ready")
        running.kill(signal.SIGTERM)
        assert running.finish(timeout=60) == (5, "caught\n")
