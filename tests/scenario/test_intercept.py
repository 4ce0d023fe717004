"""Commands whose system calls are answered otherwise: each kind of rule on real programs, and what passes through."""

from __future__ import annotations

import json
import shlex
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from subprocess import CompletedProcess

import pytest
from tests.harness.environment import Background, Environment
from tests.scenario.environments import ENVIRONMENTS, fresh

RENAMED = "redirect:/etc/os-release={directory}/file"

# Answers of one program of its own kind: dynamic C, shell, Python, and a static Go program with threads.
READERS = {
    "cat": ["cat", "/etc/os-release"],
    "shell": ["sh", "-c", "read line < /etc/os-release; echo $line"],
    "relative": ["sh", "-c", "cd /etc; cat os-release"],
    "child": ["sh", "-c", "(cat /etc/os-release); true"],
    "python": ["python3", "-c", "print(open('/etc/os-release').read(), end='')"],
    "thread": [
        "python3",
        "-c",
        "import threading as t; a = t.Thread(target=lambda: print(open('/etc/os-release').read(), end='')); a.start()",
    ],
    "directory": [
        "python3",
        "-c",
        "import os; f = os.open('/etc', 0); print(open('os-release', opener=lambda p, m: "
        "os.open(p, m, dir_fd=f)).read(), end='')",
    ],
}

# Prints the type by fstatfs(2), for which Python has no function.
FSTATFS = """
import ctypes, os, sys
answer = (ctypes.c_long * 32)()
assert ctypes.CDLL(None).fstatfs(os.open(sys.argv[1], os.O_RDONLY), answer) == 0
print(hex(answer[0] & 0xffffffff))
"""

# It starts nothing: in gVisor a Ctrl-Z that meets a traced process just as it forks or executes is lost.
ON_A_TERMINAL = """
import os, signal
signal.signal(signal.SIGINT, signal.SIG_DFL)
# Not print: a second one may come meanwhile.
signal.signal(signal.SIGCONT, lambda *_: os.write(1, b"continued\\n"))
print(os.ttyname(0), "waiting", sep="\\n", flush=True)
while True:
    signal.pause()
"""


@pytest.fixture(scope="module", params=ENVIRONMENTS)
def environment(request: pytest.FixtureRequest) -> Iterator[Environment]:
    """An environment without a cluster, which would go on changing what is compared here."""
    with fresh(request.param) as started:
        yield started


class Tracing:
    """`kins intercept` with some rules, in an environment."""

    def __init__(self, environment: Environment, directory: str) -> None:
        self.environment = environment
        self.directory = directory

    def command(self, rules: Sequence[str], *command: str) -> list[str]:
        """The command line. `{directory}` in a rule is the test's own."""
        given = [f"--rule={rule.format(directory=self.directory)}" for rule in rules]
        return ["kins", "intercept", *given, "--", *command]

    def __call__(
        self, rules: Sequence[str], *command: str, check: bool = True, text: str = ""
    ) -> CompletedProcess[str]:
        """Run it to its end."""
        return self.environment.run(self.command(rules, *command), check=check, text=text)

    def output(self, rules: Sequence[str], *command: str) -> str:
        """What it prints."""
        return self(rules, *command).stdout.strip()


@pytest.fixture
def tracing(environment: Environment, directory: str) -> Tracing:
    environment.write(f"{directory}/file", "redirected\n")
    return Tracing(environment, directory)


# Paths


@pytest.mark.parametrize("reader", READERS)
def test_a_redirected_file_is_read(tracing: Tracing, reader: str) -> None:
    assert tracing.output([RENAMED], *READERS[reader]) == "redirected"


def test_what_a_redirection_is_not_about_is_as_it_was(tracing: Tracing) -> None:
    names = ("/etc/passwd", "/etc/os-release-2", "/proc/self/comm")
    script = f"cat {' '.join(names)} 2>&1; ls -ld /etc /usr/lib; readlink /proc/self/exe"
    plain = tracing.environment.run(["sh", "-c", script]).stdout
    assert tracing([RENAMED], "sh", "-c", script).stdout == plain


def test_a_redirected_file_is_written_and_looked_at(tracing: Tracing) -> None:
    rule = "redirect:/nowhere={directory}"
    script = "echo written > /nowhere/new; stat -c %s /nowhere/new; test -e /nowhere/file; cat < /nowhere/new"
    assert tracing.output([rule], "sh", "-euc", script) == "8\nwritten"
    assert tracing.environment.output("cat", f"{tracing.directory}/new") == "written\n"
    assert tracing.output([rule], "ls", "/nowhere").split() == ["file", "new"]


def test_a_redirected_program_is_executed(tracing: Tracing) -> None:
    tracing.environment.write(f"{tracing.directory}/program", "#!/bin/sh\necho program $*\n")
    tracing.environment.run(["chmod", "755", f"{tracing.directory}/program"])
    rule = "redirect:/nowhere={directory}"
    assert tracing.output([rule], "sh", "-c", "/nowhere/program one two") == "program one two"
    assert tracing.output([rule], "/nowhere/program", "three") == "program three"


def test_an_overlay_leads_only_to_what_is_there(tracing: Tracing) -> None:
    tracing.environment.run(["mkdir", f"{tracing.directory}/kernel"])
    tracing.environment.write(f"{tracing.directory}/kernel/panic", "10\n")
    rule = "overlay:/proc/sys={directory}"
    assert tracing.output([rule], "cat", "/proc/sys/kernel/panic", "/proc/sys/kernel/ostype").split() == ["10", "Linux"]
    tracing([rule], "sh", "-c", "echo 20 > /proc/sys/kernel/panic")
    assert tracing.environment.output("cat", f"{tracing.directory}/kernel/panic") == "20\n"


def test_any_process_is_the_one_that_is_meant(tracing: Tracing) -> None:
    rule = "overlay:/proc/*/cgroup={directory}/*/cgroup"
    script = f"mkdir {tracing.directory}/$$; echo mine > {tracing.directory}/$$/cgroup; cat /proc/$$/cgroup"
    assert tracing.output([rule], "sh", "-c", f"{script}; read line < /proc/self/cgroup; echo $line") == "mine\nmine"


def test_the_first_rule_decides(tracing: Tracing) -> None:
    tracing.environment.write(f"{tracing.directory}/other", "other\n")
    rules = [RENAMED, "redirect:/etc/os-release={directory}/other"]
    assert tracing.output(rules, "cat", "/etc/os-release") == "redirected"
    assert tracing.output(rules[::-1], "cat", "/etc/os-release") == "other"


# File systems and the release


@pytest.mark.parametrize(
    ("rule", "path", "told"),
    [
        ("statfs:/proc=ext4", "/proc/self", "ext2/ext3"),
        ("statfs:/usr/lib=xfs", "/usr/lib", "xfs"),
        ("statfs:mount:/proc=btrfs", "/proc/self/task", "btrfs"),
        ("statfs:type:proc=tmpfs", "/proc", "tmpfs"),
        ("statfs:type:xfs=tmpfs", "/proc", "proc"),
        ("statfs:/etc=xfs", "/proc", "proc"),
        ("statfs:mount:/proc=0x6969", "/proc/version", "nfs"),
    ],
)
def test_a_file_system_has_another_type(tracing: Tracing, rule: str, path: str, told: str) -> None:
    assert tracing.output([rule], "stat", "-f", "-c", "%T", path) == told


@pytest.mark.parametrize("rule", ["statfs:/proc=0xabcdef", "statfs:mount:/proc=0xabcdef", "statfs:type:proc=0xabcdef"])
def test_an_open_file_has_another_type(tracing: Tracing, rule: str) -> None:
    assert tracing.output([rule], "python3", "-c", FSTATFS, "/proc/version") == "0xabcdef"
    assert tracing.output([rule], "python3", "-c", FSTATFS, "/usr") != "0xabcdef"


def test_the_kernel_has_another_release(tracing: Tracing) -> None:
    real = tracing.environment.output("uname", "-sm").strip()
    rule = "uname:6.1.0-kins"
    assert tracing.output([rule], "uname", "-r") == "6.1.0-kins"
    assert tracing.output([rule], "uname", "-sm") == real
    assert tracing.output([rule], "python3", "-c", "import os; print(os.uname().release)") == "6.1.0-kins"


def test_rules_of_a_file_come_after_those_of_the_command_line(tracing: Tracing) -> None:
    path = f"{tracing.directory}/rules.yaml"
    tracing.environment.write(path, "rules:\n- uname: {release: '1'}\n- statfs: {path: /proc, type: ext4}\n")
    command = ["sh", "-c", "uname -r; stat -f -c %T /proc"]
    assert tracing.environment.output("kins", "intercept", "--rules", path, *command) == "1\next2/ext3\n"
    both = ["kins", "intercept", "--rules", path, "--rule", "uname:2", *command]
    assert tracing.environment.output(*both) == "2\next2/ext3\n"


# What passes through


@pytest.mark.parametrize(
    ("command", "status"),
    [
        (["true"], 0),
        (["sh", "-c", "exit 7"], 7),
        (["sh", "-c", "kill -TERM $$"], 143),
        (["sh", "-c", "kill -KILL $$"], 137),
        (["nosuch-program"], 127),
        (["/nosuch/program"], 127),
        (["/etc/passwd"], 126),
        (["/etc"], 126),
    ],
)
def test_the_exit_status_is_the_commands(tracing: Tracing, command: list[str], status: int) -> None:
    done = tracing([RENAMED], *command, check=False)
    assert done.returncode == status, done.stderr
    assert bool(done.stderr) == (status in (126, 127))
    assert command[0] in done.stderr or status not in (126, 127)


def test_streams_variables_directory_and_arguments_pass_through(tracing: Tracing) -> None:
    script = 'cat; echo "$ONE" "$PWD" "$@" >&2'
    command = tracing.command([RENAMED], "sh", "-c", script, "sh", "a b", "--", "-c")
    shell = ["sh", "-c", f"cd /usr; ONE=1 {shlex.join(command)}"]
    done = tracing.environment.run(shell, text="grüße\n")
    assert (done.stdout, done.stderr) == ("grüße\n", "1 /usr a b -- -c\n")


def test_no_descriptor_is_added(tracing: Tracing) -> None:
    shown = ["python3", "-c", "import os; print(sorted(os.listdir('/proc/self/fd')))"]
    assert tracing.output([RENAMED], *shown) == tracing.environment.output(*shown).strip()


def test_a_pipe_that_nobody_reads_ends_the_command(tracing: Tracing) -> None:
    line = f"{shlex.join(tracing.command([RENAMED], 'yes'))} | head -1"
    assert tracing.environment.run(["bash", "-c", f"{line}; echo ${{PIPESTATUS[0]}}"]).stdout == "y\n141\n"


def test_a_signal_reaches_the_command(tracing: Tracing) -> None:
    script = "trap 'echo caught; exit 5' INT; echo ready; while :; do sleep 0.1; done"
    with tracing.environment.spawn(tracing.command([RENAMED], "sh", "-c", script)) as running:
        running.line_with("ready")
        running.kill(signal.SIGINT)
        assert running.finish(timeout=30) == (5, "caught\n")


@contextmanager
def on_a_terminal(tracing: Tracing) -> Iterator[Background]:
    """A shell on a terminal of its own, in which the command runs; it ends with the block, and in order."""
    command = shlex.join(tracing.command([RENAMED], "python3", "-c", ON_A_TERMINAL))
    with tracing.environment.spawn(["script", "-qec", "bash --norc -m", "/dev/null"]) as terminal:
        # Each key only when what was before it has shown an effect: Ctrl-C and Ctrl-Z throw away what is typed ahead.
        terminal.say("stty -echo; PS1='prompt\\n'\n")
        terminal.line_with("prompt")
        terminal.say(f"{command}\n")
        terminal.line_with("/dev/")
        terminal.line_with("waiting")
        yield terminal
        terminal.line_with("prompt")
        terminal.say("exit 7\n")
        assert terminal.finish(timeout=30)[0] == 7


def test_ctrl_c_ends_the_command_and_not_its_shell(tracing: Tracing) -> None:
    with on_a_terminal(tracing) as terminal:
        terminal.say("\x03")
        terminal.line_with("prompt")
        terminal.say("echo status $?\n")
        assert terminal.line_with("status ").strip().endswith("status 130")


def test_ctrl_z_stops_the_command_until_it_is_continued(tracing: Tracing) -> None:
    """It is ended from outside: in a busy gVisor bash may keep the terminal for itself after `fg`, whatever the job."""
    with on_a_terminal(tracing) as terminal:
        terminal.say("\x1a")
        terminal.line_with("Stopped")
        terminal.line_with("prompt")
        terminal.say("fg\n")
        terminal.line_with("continued")
        tracing.environment.run(["pkill", "-INT", "--full", "^python3 -c .*signal.pause"])


def test_what_stays_in_the_background_stays_under_the_rules(tracing: Tracing) -> None:
    later = f"(sleep 1; cat /etc/os-release > {tracing.directory}/later) > /dev/null 2>&1 &"
    began = time.monotonic()
    tracing([RENAMED], "sh", "-c", later)
    tracing.environment.run(["sh", "-c", f"until [ -s {tracing.directory}/later ]; do sleep 0.1; done"])
    assert tracing.environment.output("cat", f"{tracing.directory}/later") == "redirected\n"
    assert time.monotonic() - began > 0.5


def test_killed_it_leaves_nothing(tracing: Tracing) -> None:
    before = tracing.environment.snapshot()
    script = "sleep 1000 & setsid sleep 1000 & echo ready; wait"
    with tracing.environment.spawn(tracing.command([RENAMED], "sh", "-c", script)) as running:
        running.line_with("ready")
        running.kill(signal.SIGKILL)
        assert running.finish(timeout=30)[0] == 137
    assert tracing.environment.changes_since(before) == ""


def test_a_killed_tracer_takes_everything_with_it(tracing: Tracing) -> None:
    before = tracing.environment.snapshot()
    script = "sleep 1000 & setsid sleep 1000 & echo ready; wait"
    with tracing.environment.spawn(tracing.command([RENAMED], "sh", "-c", script)) as running:
        running.line_with("ready")
        tracing.environment.run(["pkill", "-KILL", "--parent", str(running.pid)])
        status, said = running.finish(timeout=30)
    assert (status, "the tracer was killed" in said) == (125, True)
    assert tracing.environment.changes_since(before) == ""


def test_nothing_is_left_of_a_command_that_ended(tracing: Tracing) -> None:
    before = tracing.environment.snapshot()
    tracing([RENAMED], "sh", "-c", "cat /etc/os-release | cat")
    assert tracing.environment.changes_since(before) == ""


# The command's own options


def test_statistics_count_what_was_met(tracing: Tracing) -> None:
    path = f"{tracing.directory}/counts.json"
    rule = RENAMED.format(directory=tracing.directory)
    tracing.environment.run(["kins", "intercept", f"--rule={rule}", f"--statistics={path}", "cat", "/etc/os-release"])
    # Written at the tracer's end, a moment after the command's.
    tracing.environment.run(["sh", "-c", f"until [ -s {path} ]; do sleep 0.1; done"])
    counts = json.loads(tracing.environment.output("cat", path))
    assert counts["stops"]["openat"] >= sum(counts["matched"]) > 0
    assert len(counts["matched"]) == 1
    assert (counts["failures"], counts["tracees"]["now"]) == (0, 0)
    assert counts["tracees"]["peak"] >= 1


def test_a_dry_run_prints_what_a_shell_runs(tracing: Tracing) -> None:
    line = tracing.command([RENAMED, "uname:1.2.3"], "sh", "-c", "cat /etc/os-release; uname -r")
    script = tracing.environment.output(*line[:2], "--dry-run", *line[2:])
    for shell in ("sh", "bash"):
        assert tracing.environment.output(shell, "-c", script) == "redirected\n1.2.3\n"


def test_notifications_are_a_backend_where_the_kernel_has_them(tracing: Tracing) -> None:
    command = tracing.command([RENAMED], "cat", "/etc/os-release")
    path = f"{tracing.directory}/counts.json"
    options = ["--backend=notify", f"--statistics={path}"]
    done = tracing.environment.run([*command[:2], *options, *command[2:]], check=False)
    if tracing.environment.on_gvisor:
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith("error: this sandbox does not let system calls be intercepted: notify: ")
        assert done.stderr.endswith("hint: kins intercept --backend ptrace\n")
    else:
        assert (done.returncode, done.stdout) == (0, "redirected\n")
        tracing.environment.run(["sh", "-c", f"until [ -s {path} ]; do sleep 0.1; done"])
        assert json.loads(tracing.environment.output("cat", path))["backend"] == "notify"


def test_any_user_may(tracing: Tracing) -> None:
    tracing.environment.run(["chmod", "755", tracing.directory])
    command = tracing.command([RENAMED], "sh", "-c", "cat /etc/os-release; id -u")
    assert tracing.environment.run(command, user=1000).stdout == "redirected\n1000\n"
