"""The environments keep their promises: the same behaviour in both, and nothing left of either."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.harness import inside
from tests.harness.environment import CommandFailed, Environment
from tests.harness.gvisor import Sandbox
from tests.harness.hierarchies import hierarchies
from tests.harness.native import Native, new_state
from tests.harness.rootfs import USER_ID, sandbox_tree

# With the native scenarios: kernel-wide sysctls of a cluster beside these tests would look like changes of theirs.
pytestmark = pytest.mark.xdist_group("native")

KINDS = [pytest.param(Native, marks=pytest.mark.native), pytest.param(Sandbox, marks=pytest.mark.sandbox)]

# Something of each kind that a snapshot shows.
DISORDER = """
mount -t tmpfs tmpfs /mnt
echo changed >> /etc/hostname
sysctl -q -w net.ipv4.tcp_sack=0
mkdir -p /tmp/groups
mount -t cgroup -o pids cgroup /tmp/groups
mkdir /tmp/groups/left
umount /tmp/groups
setsid python3 -c '
import socket, time
local, port = socket.socket(socket.AF_UNIX), socket.socket()
local.bind("/run/left")
port.bind(("127.0.0.1", 8080))
port.listen()
time.sleep(1000)' > /dev/null 2>&1 &
while [ ! -S /run/left ]; do sleep 0.1; done
"""


@pytest.fixture(scope="module", params=KINDS)
def environment(request: pytest.FixtureRequest) -> Iterator[Environment]:
    """One of each kind for the whole file; every test leaves it as it was."""
    with request.param(sandbox_tree(), root="overlay", binds={Path(__file__).parent: "/tests"}) as environment:
        yield environment


def test_exit_statuses(environment: Environment) -> None:
    ends = {"true": 0, "exit 7": 7, "kill -KILL $$": 137, "kill -TERM $$": 143}
    assert {end: environment.run(["sh", "-c", end], check=False).returncode for end in ends} == ends


def test_input_and_output(environment: Environment) -> None:
    done = environment.run(["sh", "-c", "cat; echo bad >&2"], text="grüße")
    assert (done.stdout, done.stderr) == ("grüße", "bad\n")


def test_a_failure_tells_what_was_said(environment: Environment) -> None:
    with pytest.raises(CommandFailed, match=r"exit 3\ngood\nbad"):
        environment.run(["sh", "-c", "echo good; echo bad >&2; exit 3"])


def test_a_command_has_a_limit(environment: Environment) -> None:
    with pytest.raises(CommandFailed, match=r"killed after 0\.5 s\nhello"):
        environment.run(["sh", "-c", "echo hello; exec sleep 1000"], timeout=0.5)
    assert "sleep" not in environment.output("ps", "-A")


def test_an_ordinary_user_has_no_privilege(environment: Environment) -> None:
    script = "echo $HOME $(id -u); grep CapEff /proc/self/status; touch /etc/denied"
    done = environment.run(["sh", "-c", script], user=USER_ID, check=False)
    assert done.stdout.split() == ["/home/user", str(USER_ID), "CapEff:", "0" * 16]
    assert "Permission denied" in done.stderr


def test_only_the_given_variables(environment: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", "/machine")
    found = environment.run(["env"], variables={"NAME": "a b"}).stdout.splitlines()
    assert sorted(line.partition("=")[0] for line in found) == ["HOME", "LANG", "NAME", "PATH", "TERM"]
    assert "NAME=a b" in found


def test_a_bind_is_read_only(environment: Environment) -> None:
    assert environment.output("cat", f"/tests/{Path(__file__).name}") == Path(__file__).read_text()
    assert "Read-only" in environment.run(["touch", "/tests/new"], check=False).stderr


def test_a_spawned_command_can_be_talked_to(environment: Environment) -> None:
    script = (
        'trap "echo told; exit 3" TERM; read line; printf "%s\\n" $line more "the end"; while :; do sleep 0.1; done'
    )
    with environment.spawn(["sh", "-c", script]) as command:
        command.say("hello\n")
        assert command.line() == "hello"
        assert command.line_with("end") == "the end"
        command.kill(signal.SIGTERM)
        assert command.finish(timeout=30) == (3, "told\n")


def test_a_spawned_command_ends_with_its_block(environment: Environment) -> None:
    with environment.spawn(["sleep", "1000"]):
        assert "sleep" in environment.output("ps", "-A")
    assert "sleep" not in environment.output("ps", "-A")


def test_the_wait_for_a_spawned_command_has_a_limit(environment: Environment) -> None:
    with (
        environment.spawn(["sh", "-c", "echo hello; exec sleep 1000"]) as command,
        pytest.raises(CommandFailed, match=r"does not end within 0\.5 s\nhello"),
    ):
        command.finish(timeout=0.5)
    assert "sleep" not in environment.output("ps", "-A")


def test_orphans_are_reaped(environment: Environment) -> None:
    before = environment.snapshot()
    environment.run(["sh", "-c", "sleep 0.2 > /dev/null 2>&1 &"])
    assert environment.changes_since(before) == ""


def test_loopback_and_nothing_else(environment: Environment) -> None:
    parts = environment.snapshot().parts
    assert [line.split()[0] for line in parts["links"]] == ["lo"]
    assert sorted(parts["addresses"]) == ["lo 127.0.0.1/8", "lo ::1/128"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_snapshot_shows_what_is_left(kind: type[Native] | type[Sandbox]) -> None:
    with kind(sandbox_tree(), root="overlay") as environment:
        before = environment.snapshot()
        environment.run(["sh", "-euc", DISORDER])
        changes = environment.changes_since(before, patience=0)
    shown = {line.partition(":")[0] for line in changes.splitlines()}
    assert shown == {
        "+ mounts",
        "+ listeners",
        "+ unix sockets",
        "+ processes",
        "+ control groups",
        "- sysctls",
        "+ sysctls",
        "- files",
        "+ files",
    }, changes


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_left_on_the_machine(kind: type[Native] | type[Sandbox]) -> None:
    """Of this environment; others may come and go meanwhile."""
    with kind(sandbox_tree(), root="overlay") as environment:
        environment.run(["sh", "-euc", DISORDER])
    name = environment.state.name
    assert not environment.state.exists()
    assert not [line for line in inside.mounts() if name in line]
    assert not [line for line in inside.processes() if name in line]
    assert not [group for group in hierarchies() if group.branch(name).directory.exists()]


@pytest.mark.native
def test_what_a_killed_test_left_is_removed() -> None:
    abandoned, lock = new_state()
    groups = [hierarchy.branch(abandoned.name) for hierarchy in hierarchies()]
    for group in groups:
        group.make()
    os.close(lock)
    state, lock = new_state()
    assert not abandoned.exists()
    assert not [group for group in groups if group.directory.exists()]
    assert state.exists()
    state.rmdir()
    os.close(lock)
