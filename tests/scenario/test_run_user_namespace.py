"""`kins run` without any privilege in its sandbox: for root with Docker's default capabilities, and for an ordinary
user."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from tests.harness.environment import Environment
from tests.harness.gvisor import Sandbox
from tests.harness.native import Native
from tests.harness.rootfs import USER_ID
from tests.harness.wheel import kins_tree
from tests.scenario.cluster import eventually

NATIVE = [pytest.mark.native, pytest.mark.xdist_group("native")]
GVISOR = [pytest.mark.sandbox, pytest.mark.xdist_group("gvisor-9p")]

# A web server in the sandbox, which the environment finds at another address than its own loopback's; and one in the
# environment.
OUTSIDE, INSIDE = 8100, 8200
SERVER = """
import http.server, sys
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"served\\n")
server = http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Answer)
print("ready", flush=True)
server.serve_forever()
"""

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
curl --silent --show-error --fail --max-time 10 http://169.254.0.1:8100
(setsid sleep 1000 > /dev/null 2>&1 &)
"""


@pytest.fixture(scope="module", params=[pytest.param("native", marks=NATIVE), pytest.param("gvisor", marks=GVISOR)])
def environment(request: pytest.FixtureRequest) -> Iterator[Environment]:
    """One that gives root no more than Docker does."""
    made = (
        Native(kins_tree(), capabilities="docker")
        if request.param == "native"
        else Sandbox(kins_tree(), root="9p", capabilities="docker", network="sandbox")
    )
    with made as started:
        yield started


USERS = pytest.mark.parametrize("user", [pytest.param(0, id="root"), pytest.param(USER_ID, id="user")])


@contextmanager
def serving(environment: Environment) -> Iterator[None]:
    """A web server on the sandbox's loopback."""
    with environment.spawn(["python3", "-c", SERVER, str(OUTSIDE)]) as running:
        running.line_with("ready")
        yield


@USERS
def test_a_tour_leaves_nothing(environment: Environment, user: int) -> None:
    """The command is root, has control groups, settings and directories of its own, and a way out."""
    before = environment.snapshot()
    with serving(environment):
        done = environment.kins("run", "--", "sh", "-c", f"{TOUR}exit 7", user=user, check=False)
    assert (done.returncode, done.stdout.split()) == (7, ["5", "/kubepods", "0", "served"]), done.stderr
    assert "note: the command has a network of its own" in done.stderr
    assert environment.changes_since(before) == ""


@USERS
def test_a_published_port_is_reached(environment: Environment, user: int) -> None:
    before = environment.snapshot()
    command = ["kins", "run", "--publish", str(INSIDE), "--", "python3", "-c", SERVER, str(INSIDE)]
    with environment.spawn(command, user=user) as running:
        running.line_with("ready")
        assert environment.output("curl", "--silent", "--max-time", "10", f"http://127.0.0.1:{INSIDE}") == "served\n"
        running.kill(signal.SIGTERM)
        running.finish(timeout=60)
    assert environment.changes_since(before) == ""


def test_a_port_that_is_taken_is_named(environment: Environment) -> None:
    before = environment.snapshot()
    with serving(environment):
        done = environment.kins("run", "--publish", str(OUTSIDE), "--", "true", check=False)
    assert (done.returncode, f"port {OUTSIDE}" in done.stderr) == (1, True), done.stderr
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
