"""A sandbox prepared for other node software: what a command finds in it, what passes through, and that it goes."""

from __future__ import annotations

import shlex
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from tests.harness.environment import Background, Environment
from tests.scenario.cluster import eventually
from tests.scenario.environments import ENVIRONMENTS, fresh

# What upstream's software does in the environment, by the programs of a small system. `sleep` outlives its parent.
TOUR = """
set -e
grep -q . /etc/hosts
test -e /etc/resolv.conf
cat /proc/sys/kernel/panic /proc/sys/kernel/keys/root_maxkeys /proc/sys/net/ipv4/ip_forward
echo 5 > /proc/sys/kernel/panic
dd if=/dev/kmsg of=/dev/null count=0 status=none
for each in cpu cpuacct cpuset memory pids; do mkdir -p /sys/fs/cgroup/$each/kubepods/pod; done
cat /sys/fs/cgroup/cpuacct/cpuacct.usage_percpu > /dev/null
at=/var/lib/containerd
mkdir $at/lower $at/upper $at/work $at/merged
mount -t overlay -o lowerdir=$at/lower,upperdir=$at/upper,workdir=$at/work overlay $at/merged
touch $at/merged/file
umount $at/merged
touch /var/lib/docker/file /run/containerd/file /var/lib/kubelet/file /srv/data/file
(setsid sleep 1000 > /dev/null 2>&1 &)
echo $KINS_RUN $(hostname) $$
"""

# Job control as shells of all kinds have it: the terminal, and no word about lacking it.
INTERACTIVE = "bash --norc --noprofile -i"


@pytest.fixture(scope="module", params=ENVIRONMENTS)
def environment(request: pytest.FixtureRequest) -> Iterator[Environment]:
    """An environment without a cluster: its node would be in the way."""
    with fresh(request.param) as started:
        yield started


def test_a_tour_leaves_nothing(environment: Environment) -> None:
    """Everything that the software asks for is there, and afterwards all is as before, what it left running too."""
    before = environment.snapshot()
    name = environment.output("hostname").strip()
    done = environment.kins("run", "--writable", "/srv/data", "--", "sh", "-c", f"{TOUR}exit 7", check=False)
    assert (done.returncode, done.stdout.split()[:5]) == (7, ["10", "1000000", "1", "1", name]), done.stderr
    assert environment.changes_since(before) == ""


def test_data_is_kept_where_it_is_asked_for(environment: Environment, directory: str) -> None:
    script = 'cat /var/lib/docker/word 2> /dev/null; echo "$0" > /var/lib/docker/word'
    environment.kins("run", "--data", directory, "--", "sh", "-c", script, "kept")
    done = environment.kins("run", "--data", directory, "--", "sh", "-c", script, "again")
    assert done.stdout == "kept\n"
    assert environment.output("cat", f"{directory}/var/lib/docker/word") == "again\n"


@pytest.mark.parametrize(
    ("command", "status"),
    [(["sh", "-c", "kill -KILL $$"], 137), (["nosuch-program"], 127), (["/etc/passwd"], 126)],
)
def test_the_exit_status_is_the_commands(environment: Environment, command: list[str], status: int) -> None:
    """Without the tracer, whose own are tested with it."""
    done = environment.kins("run", "--no-intercept", "--", *command, check=False)
    assert done.returncode == status, done.stderr
    assert (command[0] in done.stderr) == (status in (126, 127))


def test_streams_variables_directory_and_descriptors_pass_through(environment: Environment) -> None:
    script = 'cat; echo "$ONE" "$PWD" "$PATH" "$@" >&2; ls /proc/self/fd | wc -l'
    command = shlex.join(["kins", "run", "--", "sh", "-c", script, "sh", "a b", "--", "-c"])
    done = environment.run(["sh", "-c", f"cd /usr; ONE=1 PATH=$PATH:/own {command}"], text="grüße\n")
    assert done.stdout == "grüße\n4\n"
    assert done.stderr.endswith(":/own a b -- -c\n")
    assert done.stderr.startswith("1 /usr /")


def test_a_signal_reaches_the_command(environment: Environment) -> None:
    script = "trap 'echo caught; exit 5' TERM; echo ready; while :; do sleep 0.1; done"
    with environment.spawn(["kins", "run", "--", "sh", "-c", script]) as running:
        running.line_with("ready")
        running.kill(signal.SIGTERM)
        assert running.finish(timeout=60) == (5, "caught\n")


def test_one_at_a_time_and_a_killed_one_is_undone_by_down(environment: Environment) -> None:
    before = environment.snapshot()
    script = "setsid sleep 1000 & mkdir -p /sys/fs/cgroup/memory/kubepods; echo ready; wait"
    with environment.spawn(["kins", "run", "--", "sh", "-c", script]) as running:
        running.line_with("ready")
        refused = environment.kins("run", "--", "true", check=False)
        assert (refused.returncode, "already runs" in refused.stderr) == (1, True)
        running.kill(signal.SIGKILL)
        assert running.finish(timeout=60)[0] == 137
    # The kernel ends what ran in it a moment later; until then it counts as running.
    eventually(lambda: "is undone" in environment.kins("down", "--all").stderr)
    assert environment.changes_since(before) == ""


def test_the_next_run_undoes_a_killed_one_too(environment: Environment) -> None:
    before = environment.snapshot()
    with environment.spawn(["kins", "run", "--", "sh", "-c", "echo ready; sleep 1000"]) as running:
        running.line_with("ready")
        running.kill(signal.SIGKILL)
        running.finish(timeout=60)
    eventually(lambda: environment.kins("run", "--", "true", check=False).returncode == 0)
    assert environment.changes_since(before) == ""


# The terminal


# What it prints does not stand in its text, which a shell may echo.
ON_A_TERMINAL = """
import os, signal
signal.signal(signal.SIGINT, signal.SIG_DFL)
signal.signal(signal.SIGCONT, lambda *_: os.write(1, b"contin" b"ued\\n"))
os.write(1, b"wait" b"ing\\n")
while True:
    signal.pause()
"""


@contextmanager
def on_a_terminal(environment: Environment, *command: str) -> Iterator[Background]:
    """A shell with job control on a terminal of its own, in which the command has begun."""
    line = shlex.join(["kins", "run", "--no-intercept", "--", *command])
    with environment.spawn(["script", "-qec", "bash --norc -m", "/dev/null"]) as terminal:
        # Each key only when what was before it has shown an effect: Ctrl-C and Ctrl-Z throw away what is typed ahead.
        terminal.say("stty -echo; PS1='outer\\n'\n")
        terminal.line_with("outer")
        terminal.say(f"{line}\n")
        yield terminal
        terminal.line_with("outer")
        terminal.say("exit 7\n")
        assert terminal.finish(timeout=60)[0] == 7


@pytest.mark.timeout(120)
def test_ctrl_c_ends_the_command_and_not_its_shell(environment: Environment) -> None:
    with on_a_terminal(environment, "python3", "-c", ON_A_TERMINAL) as terminal:
        terminal.line_with("waiting")
        terminal.say("\x03")
        terminal.line_with("outer")
        terminal.say("echo status $?\n")
        assert terminal.line_with("status ").strip().endswith("status 130")


@pytest.mark.timeout(120)
def test_ctrl_z_stops_the_command_until_it_is_continued(environment: Environment) -> None:
    """It is ended from outside: in a busy gVisor bash may keep the terminal for itself after `fg`, whatever the job."""
    with on_a_terminal(environment, "python3", "-c", ON_A_TERMINAL) as terminal:
        terminal.line_with("waiting")
        terminal.say("\x1a")
        terminal.line_with("Stopped")
        terminal.line_with("outer")
        terminal.say("fg\n")
        terminal.line_with("continued")
        environment.run(["pkill", "-INT", "--full", "^python3 -c .*signal.pause"])


@pytest.mark.timeout(240)
def test_an_interactive_shell(environment: Environment) -> None:
    """It has job control and the terminal's size, and a Ctrl-C that ends its own command only.

    In gVisor some are lost. Both sides of a shell's fork call setpgid(2) for the child, and where the session's leader
    is in another pid namespace the second call makes another group: the terminal stays with one that has no members.
    """
    attempts, seconds = (10, 5) if environment.on_gvisor else (1, 1000)
    with on_a_terminal(environment, *shlex.split(INTERACTIVE)) as terminal:
        # It echoes what is typed. Quotes tell what it prints from that.
        terminal.say("PS1='inn''er\\n'; stty rows 33 columns 44; stty size\n")
        terminal.line_with("33 44")
        assert any(interrupted(terminal, seconds) for _ in range(attempts))
        terminal.say("exit 3\n")
        terminal.line_with("outer")
        terminal.say("echo status $?\n")
        assert terminal.line_with("status ").strip().endswith("status 3")


def interrupted(terminal: Background, seconds: int) -> bool:
    """Whether a Ctrl-C ends what the shell inside has begun; in that time it ends by itself."""
    terminal.say(f"sh -c 'echo be''gun; exec sleep {seconds}'\n")
    terminal.line_with("begun")
    terminal.say("\x03")
    terminal.line_with("inner")
    terminal.say("echo sti''ll $?\n")
    return terminal.line_with("still ").strip().endswith("still 130")
