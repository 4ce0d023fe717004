"""The command line as its users meet it: help, exit codes, messages, JSON, completion, and clusters that crashed."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from click.testing import CliRunner

import kins
from kins.cli.main import COMMANDS, cli
from kins.cluster import store
from kins.cluster.spec import ClusterSpec, Decisions, Missing, Record
from kins.components import COMPONENT_NAMES, Layout, Settings
from kins.components.layout import BINARIES, ENGINE
from kins.components.settings import Ports
from kins.kubeconfig import Entry, build, dump, merge, write_private
from kins.sys import interception

SOURCES = Path(kins.__file__).resolve().parents[1]
LIMIT = 60
MISSING = Missing(fact="mounts", cause="mounts: EPERM", consequence="no volumes", hint="run the sandbox as root")
ENTRY = Entry("kins-dev", "https://127.0.0.1:6443", b"an authority", b"a certificate", b"a key")


class Command:
    """`kins` on a path of its own, with a home and a kubeconfig of its own."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.home = place / "home"
        self.kubeconfig = place / "kubeconfig"
        programs = place / "bin"
        programs.mkdir()
        (programs / "kins").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m kins.cli "$@"\n')
        (programs / "kins").chmod(0o755)
        self.environment = {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "PYTHONPATH": str(SOURCES),
            "HOME": str(place),
            "KINS_HOME": str(self.home),
            "KUBECONFIG": str(self.kubeconfig),
            "LANG": "C.UTF-8",
        }

    def __call__(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run it to its end. Whatever a user does, no traceback is the answer."""
        done = subprocess.run(
            ["kins", *arguments],
            env=self.environment | environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=LIMIT,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def json(self, *arguments: str) -> tuple[int, Any]:
        """Run it with `--output json`; standard output must be one document, and nothing else is said."""
        done = self(*arguments, "--output", "json")
        return done.returncode, json.loads(done.stdout)

    def files(self, name: str) -> Layout:
        return Layout(self.home / "clusters" / name)


@pytest.fixture
def command() -> Iterator[Command]:
    place = Path(tempfile.mkdtemp(prefix="kins-"))
    yield Command(place)
    shutil.rmtree(place)


@pytest.fixture
def crashed(command: Command) -> Layout:
    """The cluster `dev`, made and left by a supervisor that was killed."""
    files = command.files("dev")
    files.make_directories()
    settings = Settings(
        name="dev",
        node_name="kins-dev",
        node_address="10.42.0.1",
        pod_range="10.42.0.0/16",
        service_range="10.43.0.0/16",
        load_balancer_range="10.44.0.0/16",
        api_service_address="10.43.0.1",
        dns_address="10.43.0.10",
        ports=Ports(
            api=6443,
            controller_manager=10257,
            scheduler=10259,
            kubelet=10250,
            kubelet_health=10248,
            metrics_server=10251,
        ),
    )
    decisions = Decisions(level="control-plane", missing=(MISSING,))
    store.save(
        files.record, Record(identity="012abc", spec=ClusterSpec(name="dev"), decisions=decisions, settings=settings)
    )
    with subprocess.Popen(["/bin/sleep", "1000"]) as dead:
        store.save(files.supervisor, store.ProcessRecord.of(dead.pid))
        dead.kill()
    files.log("etcd").write_text("".join(f"line {number}\n" for number in range(100)))
    files.log("kube-apiserver").write_text("hello\n")
    write_private(files.kubeconfig, dump(build(ENTRY)))
    merge(ENTRY, {"KUBECONFIG": str(command.kubeconfig)})
    return files


def commands(group: click.Group = cli, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command and group below `kins`, with its words."""
    context = click.Context(group)
    for name in group.list_commands(context):
        found = group.get_command(context, name)
        assert found is not None
        yield (*path, name), found
        if isinstance(found, click.Group):
            yield from commands(found, (*path, name))


ALL = {" ".join(path): found for path, found in commands()}


def examples(text: str) -> list[list[str]]:
    """The arguments of every `kins` in a help text, without what the shell does with the output."""
    found = re.findall(r"\bkins ((?:\S+ ?)+)", text)
    return [shlex.split(re.split(r" [<>|]|\)", line)[0]) for line in found]


# Help


def test_help_lists_every_command_with_examples(command: Command) -> None:
    done = command("--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Usage: kins ")
    for name, summary in COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(summary)}$", done.stdout, re.MULTILINE), name
    assert ["up"] in examples(done.stdout)
    assert ["down"] in examples(done.stdout)
    assert "Exit codes: 0 success, 1 failure, 2 wrong usage, 130 interrupted." in done.stdout
    assert command("-h").stdout == done.stdout


def test_help_waits_for_nothing_that_it_does_not_need() -> None:
    script = "import sys\nfrom kins.cli.main import main\ntry: main()\nfinally: print(*sys.modules, file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", script, "--help"],
        env={"PYTHONPATH": str(SOURCES), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = {module.partition(".")[0] for module in done.stderr.split()}
    assert "click" in loaded
    assert not loaded & {"cryptography", "yaml", "rich", "psutil", "asyncio", "platformdirs", "http"}
    assert not {"kins.cluster", "kins.supervise", "kins.sandbox"} & set(done.stderr.split())


@pytest.mark.parametrize("name", ALL)
def test_help_of_every_command_has_examples_that_parse(name: str) -> None:
    done = CliRunner().invoke(cli, [*name.split(), "--help"], prog_name="kins")
    assert done.exit_code == 0
    assert done.output.startswith(f"Usage: kins {name} ")
    _, found, text = done.output.partition("Examples:\n")
    assert found, done.output
    lines = examples(text)
    assert lines, text
    for line in lines:
        assert line[: len(name.split())] == name.split(), line
        # Everything that a command makes of its arguments, but not the command itself.
        context, arguments = click.Context(cli, info_name="kins"), line
        step: click.Command = cli
        while isinstance(step, click.Group):
            _, following, arguments = step.resolve_command(context, arguments)
            assert following is not None, line
            step, context = following, click.Context(following, parent=context)
        step.make_context(line[0], arguments, parent=click.Context(cli))


@pytest.mark.parametrize("name", ALL)
def test_every_command_says_what_it_does(name: str) -> None:
    assert ALL[name].help
    for parameter in ALL[name].params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name


def test_kubectl_has_help_of_its_own_and_passes_on_the_rest(command: Command) -> None:
    assert "kins kubectl get pods -A" in command("kubectl", "--help").stdout
    for arguments in (["get", "--help"], ["-nhello", "get", "pods"], ["--namespace", "x", "get", "--output=json"]):
        assert "there is no cluster 'default'" in command("kubectl", *arguments).stderr


# Exit codes and errors


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nosuch"],
        ["--nosuch"],
        ["status", "--nosuch"],
        ["status", "a", "b"],
        ["list", "--output", "yaml"],
        ["up", "--timeout", "soon"],
        ["up", "--timeout", "0"],
        ["up", "--timeout", "-1s"],
        ["image"],
        ["image", "load"],
        ["kubeconfig", "nosuch"],
        ["completion", "tcsh"],
        ["intercept"],
        ["intercept", "--", "true"],
        ["intercept", "--rule", "uname:6", "--"],
        ["intercept", "--rule", "uname:6", "--backend", "magic", "--", "true"],
        ["logs", "--tail", "many"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_exit_code_2(command: Command, arguments: list[str]) -> None:
    done = command(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Usage: kins" in done.stderr
    assert not command.home.exists()


BAD = [
    (["up", "Bad"], "invalid-name"),
    (["up", "-a"], None),
    (["up", "../evil"], "invalid-name"),
    (["up", "a" * 59], "invalid-name"),
    (["down", "Bad"], "invalid-name"),
    (["status", "Bad_"], "invalid-name"),
    (["kubeconfig", "get", "."], "invalid-name"),
    (["kubectl", "Bad", "--", "get", "pods"], "invalid-name"),
    (["logs", "--name", "Bad"], "invalid-name"),
    (["image", "load", "x.tar", "--name", "Bad"], "invalid-name"),
    (["up", "--arg", "nosuch:v=4"], "unknown-component"),
    (["up", "--with", "nosuch"], "unknown-addition"),
    (["up", "--with", "intercept", "--control-plane-only"], "needs-node"),
    (["up", "--arg", "kubelet"], "invalid-argument"),
    (["up", "-p", "8080"], "invalid-publish"),
    (["up", "-p", "8080:30080", "--control-plane-only"], "needs-node"),
    (["up", "--proxy-for-pods", "--control-plane-only"], "needs-node"),
    (["up", "--proxy-for-pods"], "no-proxy"),
    (["up", "-p", "8080:30080", "--level", "fake"], "needs-node"),
    (["up", "--fake-nodes", "2", "--control-plane-only"], "needs-node"),
    (["up", "--fake-nodes", "1001"], "invalid-fake-nodes"),
    (["up", "--fake-nodes", "0"], None),
    (["intercept", "--rule", "uname:", "--", "true"], "invalid-rule"),
    (["intercept", "--rules", "nosuch.yaml", "true"], "invalid-rules-file"),
]


@pytest.mark.parametrize(("arguments", "code"), BAD, ids=[" ".join(arguments) for arguments, _ in BAD])
def test_a_bad_request_is_exit_code_2_and_touches_nothing(
    command: Command, arguments: list[str], code: str | None
) -> None:
    done = command(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    if code is not None:
        assert re.fullmatch(r"error: .+\nhint: .+\n", done.stderr), done.stderr
    assert not command.home.exists()
    assert not command.kubeconfig.exists()
    takes_json = arguments[0] not in ("kubectl", "logs", "intercept") and arguments[:2] != ["kubeconfig", "get"]
    if code is not None and takes_json:
        returned, document = command.json(*arguments)
        assert (returned, document["error"]["code"]) == (2, code)


def test_a_path_that_is_too_long_for_sockets_is_refused_at_once(command: Command) -> None:
    done = command("up", KINS_HOME=str(command.place / ("x" * 100)))
    assert done.returncode == 2
    assert "too long" in done.stderr
    assert "hint: export KINS_HOME=" in done.stderr


def test_the_status_of_no_cluster(command: Command) -> None:
    done = command("status", "nosuch")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: there is no cluster 'nosuch'\nhint: kins list\n"
    assert not command.home.exists()


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["status", "nosuch"], "status"),
        (["kubeconfig", "merge", "nosuch"], "kubeconfig merge"),
        (["kubeconfig", "remove", "nosuch"], None),
        (["image", "load", "x.tar", "--name", "nosuch"], "image load"),
    ],
)
def test_errors_in_json(command: Command, arguments: list[str], name: str | None) -> None:
    code, document = command.json(*arguments)
    if name is None:
        # A name that is nowhere is removed already.
        assert (code, document["ok"], document["result"]) == (0, True, {"paths": []})
        return
    assert code == 1
    assert document == {
        "version": 1,
        "command": name,
        "ok": False,
        "error": {"code": "no-such-cluster", "message": "there is no cluster 'nosuch'", "hint": "kins list"},
    }


def test_down_clears_what_a_killed_up_left_before_it_made_a_directory(command: Command) -> None:
    home = Path(command.environment["KINS_HOME"])
    store_lock = home / "clusters" / "dev.lock"
    store_lock.parent.mkdir(parents=True)
    store_lock.touch()
    with subprocess.Popen(["/bin/true"]) as dead:
        dead.wait()
    (home / f"probe-{dead.pid}" / "mounts").mkdir(parents=True)
    (home / "made-directories.json").write_text(json.dumps([str(home)]))
    done = command("down", "dev")
    assert (done.returncode, done.stderr) == (0, "there is no cluster 'dev'; nothing to do\n")
    assert not home.exists()


def test_results_in_json(command: Command) -> None:
    assert command.json("list") == (0, {"version": 1, "command": "list", "ok": True, "result": []})
    assert command("list").stdout == "no clusters\n"


def test_versions_are_those_of_the_build(command: Command) -> None:
    code, document = command.json("version")
    if not (BINARIES / "versions.json").exists():
        assert (code, document["error"]["code"]) == (1, "not-built")
        return
    assert (code, document["ok"]) == (0, True)
    assert {"kins", "kubernetes", "etcd", "containerd", "runc"} <= set(document["result"])
    shown = dict(line.split(maxsplit=1) for line in command("version").stdout.splitlines()[1:])
    assert shown == document["result"]


def test_down_of_what_is_not_there_is_no_error(command: Command) -> None:
    done = command("down", "nosuch")
    assert (done.returncode, done.stdout) == (0, "")
    assert "nothing to do" in done.stderr
    assert command.json("down", "nosuch") == (0, {"version": 1, "command": "down", "ok": True, "result": []})
    assert command.json("down", "--all") == (0, {"version": 1, "command": "down", "ok": True, "result": []})


# A cluster that crashed


def test_a_crashed_cluster_is_told_as_one(command: Command, crashed: Layout) -> None:
    done = command("status", "dev")
    assert done.returncode == 1
    assert "crashed" in done.stdout
    assert "kins up dev" in done.stdout
    assert "kins down dev" in done.stdout
    code, document = command.json("status", "dev")
    assert (code, document["ok"]) == (1, True)
    result = document["result"]
    assert (result["name"], result["state"], result["healthy"], result["level"]) == (
        "dev",
        "crashed",
        False,
        "control-plane",
    )
    assert result["missing"] == [
        {"fact": "mounts", "cause": "mounts: EPERM", "consequence": "no volumes", "hint": "run the sandbox as root"}
    ]
    assert command("list").stdout.splitlines() == ["NAME   STATE     LEVEL", "dev    crashed   control-plane"]
    assert crashed.record.exists()


def test_a_crashed_cluster_is_removed_completely(command: Command, crashed: Layout) -> None:
    other = yaml.safe_load(command.kubeconfig.read_text())
    other["users"].append({"name": "mine", "user": {"token": "x"}})
    command.kubeconfig.write_text(yaml.safe_dump(other))
    done = command("down", "dev")
    assert (done.returncode, done.stdout, done.stderr) == (0, "Cluster 'dev' is removed\n", "")
    assert not crashed.directory.exists()
    left = yaml.safe_load(command.kubeconfig.read_text())
    assert [item["name"] for section in ("clusters", "contexts", "users") for item in left[section]] == ["mine"]
    assert not left["current-context"]
    assert command.json("list")[1]["result"] == []


def test_a_crashed_cluster_can_be_stopped(command: Command, crashed: Layout) -> None:
    assert command.json("stop", "dev")[1]["result"] == [{"name": "dev", "outcome": "stopped"}]
    assert command.json("stop", "--all")[1]["result"] == [{"name": "dev", "outcome": "already-stopped"}]
    assert command("list").stdout.splitlines() == ["NAME   STATE     LEVEL", "dev    stopped   control-plane"]
    shown = command("status", "dev")
    assert (shown.returncode, "kins start dev" in shown.stdout) == (1, True)
    assert "kins-dev" in command.kubeconfig.read_text(), "its entry is kept for the next start"
    assert command("down", "dev").returncode == 0
    assert not crashed.directory.exists()


def test_what_is_not_there_can_be_neither_stopped_nor_started(command: Command) -> None:
    for name in ("stop", "start"):
        code, document = command.json(name, "nosuch")
        assert (code, document["error"]["code"], document["error"]["hint"]) == (1, "no-such-cluster", "kins list")
    assert command.json("stop", "--all")[1]["result"] == []


def test_what_was_never_completely_made_can_be_neither_stopped_nor_started(command: Command, crashed: Layout) -> None:
    crashed.record.unlink()
    for name in ("stop", "start"):
        code, document = command.json(name, "dev")
        assert (code, document["error"]["code"]) == (1, "not-running")


@pytest.mark.parametrize("damaged", ["record", "supervisor", "facts"])
def test_a_cluster_with_damaged_files_can_be_removed(command: Command, crashed: Layout, damaged: str) -> None:
    getattr(crashed, damaged).write_bytes(b"\0" * 64)
    if damaged == "record":
        code, document = command.json("status", "dev")
        assert (code, document["error"]["code"], document["error"]["hint"]) == (1, "state-damaged", "kins down dev")
    assert command("down", "dev").returncode == 0
    assert not crashed.directory.exists()


def test_logs(command: Command, crashed: Layout) -> None:
    assert command("logs", "etcd", "--name", "dev", "--tail", "2").stdout == "line 98\nline 99\n"
    together = command("logs", "--name", "dev", "--tail", "1").stdout
    assert together == "etcd: line 99\nkube-apiserver: hello\n"
    done = command("logs", "nosuch", "--name", "dev")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[1] == "hint: one of: etcd, kube-apiserver"


def test_logs_are_followed_until_the_cluster_goes(command: Command, crashed: Layout) -> None:
    arguments = ["kins", "logs", "kube-apiserver", "--name", "dev", "-f"]
    with subprocess.Popen(arguments, env=command.environment, stdout=subprocess.PIPE, text=True) as following:
        assert following.stdout is not None
        assert following.stdout.readline() == "hello\n"
        with crashed.log("kube-apiserver").open("a") as log:
            log.write("and goodbye\n")
        assert following.stdout.readline() == "and goodbye\n"
        shutil.rmtree(crashed.directory)
        assert following.wait(LIMIT) == 0


def test_an_interrupted_command_is_exit_code_130(command: Command, crashed: Layout) -> None:
    arguments = ["kins", "logs", "kube-apiserver", "--name", "dev", "-f"]
    pipe = subprocess.PIPE
    with subprocess.Popen(arguments, env=command.environment, stdout=pipe, stderr=pipe, text=True) as following:
        assert following.stdout is not None
        assert following.stdout.readline() == "hello\n"
        following.send_signal(signal.SIGINT)
        _, told = following.communicate(timeout=LIMIT)
    assert following.returncode == 130
    assert told.lstrip().startswith("kins: interrupted")
    assert "Traceback" not in told


def test_kubeconfig_of_a_cluster(command: Command, crashed: Layout) -> None:
    assert yaml.safe_load(command("kubeconfig", "get", "dev").stdout)["current-context"] == "kins-dev"
    code, document = command.json("kubeconfig", "remove", "dev")
    assert (code, document["result"]) == (0, {"paths": [str(command.kubeconfig)]})
    assert not command.kubeconfig.exists()
    assert crashed.directory.exists(), "the cluster goes on"
    for name, content in (("ca.crt", b"authority"), ("admin.crt", b"certificate"), ("admin.key", b"key")):
        (crashed.pki / name).write_bytes(content)
    done = command("kubeconfig", "merge", "dev")
    assert done.stdout == f"context kins-dev is current in {command.kubeconfig}\n"
    assert yaml.safe_load(command.kubeconfig.read_text())["current-context"] == "kins-dev"


def test_images_need_a_node(command: Command, crashed: Layout) -> None:
    code, document = command.json("image", "load", "nosuch.tar", "--name", "dev")
    assert (code, document["error"]["code"]) == (1, "no-node")


@pytest.mark.skipif(not ENGINE.exists(), reason="this source tree was not built (make wheel): there is no engine")
def test_kubectl_gets_its_arguments_and_gives_its_exit_code(command: Command, crashed: Layout) -> None:
    # The user's own kubeconfig is not asked.
    command.kubeconfig.unlink()
    done = command("kubectl", "dev", "--", "config", "current-context")
    assert (done.returncode, done.stdout) == (0, "kins-dev\n")
    done = command("kubectl", "dev", "--", "config", "get-contexts", "nosuch", "-o", "name")
    assert done.returncode == 1
    assert "nosuch" in done.stderr


# Interception

EXAMPLE_RULES = """\
{
  "version": 1,
  "rules": [
    {
      "redirect": {
        "from": "/a",
        "to": "/b",
        "only_existing": true
      }
    },
    {
      "uname": {
        "release": "6.1"
      }
    }
  ]
}
"""


def test_what_would_be_intercepted_is_a_shell_command(command: Command) -> None:
    rules = command.place / "rules.yaml"
    rules.write_text("rules: [{uname: {release: '6.1'}}]")
    done = command("intercept", "--rules", str(rules), "--rule", "overlay:/a=/b", "--dry-run", "cat", "-n", "a b")
    assert (done.returncode, done.stderr) == (0, "")
    line = f"{interception.PROGRAM} --backend auto --rules /dev/fd/3 -- cat -n 'a b' 3<<'RULES'"
    assert done.stdout == f"{line}\n{EXAMPLE_RULES}RULES\n"


needs_tracer = pytest.mark.skipif(
    not interception.PROGRAM.exists(), reason="this source tree was not built (make wheel): there is no tracer"
)


@needs_tracer
@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_a_shell_runs_what_would_be_intercepted(command: Command, shell: str) -> None:
    script = command("intercept", "--rule", "uname:6.1.0-kins", "--dry-run", "uname", "-r").stdout
    done = subprocess.run([shell, "-c", script], capture_output=True, text=True, check=False, timeout=LIMIT)
    assert (done.returncode, done.stdout, done.stderr) == (0, "6.1.0-kins\n", "")


@needs_tracer
def test_an_intercepted_command_has_no_descriptor_of_ours(command: Command) -> None:
    listed = ["python3", "-c", "import os; print(sorted(os.listdir('/proc/self/fd')))"]
    plain = subprocess.run(listed, env=command.environment, capture_output=True, text=True, check=True)
    assert command("intercept", "--rule", "uname:6.1.0-kins", *listed).stdout == plain.stdout


@needs_tracer
@pytest.mark.parametrize(
    ("arguments", "status", "output", "said"),
    [
        (["sh", "-c", "uname -r; exit 7"], 7, "6.1.0-kins\n", ""),
        (["sh", "-c", "kill -TERM $$"], 143, "", ""),
        (["nosuch-program"], 127, "", "nosuch-program"),
        (["/etc/passwd"], 126, "", "/etc/passwd"),
    ],
    ids=str,
)
def test_an_intercepted_command_gives_its_exit_code(
    command: Command, arguments: list[str], status: int, output: str, said: str
) -> None:
    done = command("intercept", "--rule", "uname:6.1.0-kins", "--", *arguments)
    # Python says -15 of a process that a signal ended, as a shell says 143.
    code = done.returncode if done.returncode >= 0 else 128 - done.returncode
    assert (code, done.stdout, said in done.stderr, bool(done.stderr)) == (status, output, True, bool(said))


# Completion


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_are_the_shells_own(command: Command, shell: str) -> None:
    done = command("completion", shell)
    assert (done.returncode, done.stderr) == (0, "")
    assert "_KINS_COMPLETE" in done.stdout
    program = shutil.which(shell)
    if program is not None:
        checked = subprocess.run([program, "-n"], input=done.stdout, capture_output=True, text=True, check=False)
        assert (checked.returncode, checked.stderr) == (0, "")
    else:
        assert shell != "bash", "bash is needed: it is part of every Debian"


def completed(command: Command, words: str) -> list[str]:
    """What `kins` offers for the last of these words."""
    done = command(_KINS_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD=str(len(words.split(" ")) - 1))
    return [line.removeprefix("plain,") for line in done.stdout.splitlines() if line]


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("kins stat", ["status"]),
        ("kins ", list(COMMANDS)),
        ("kins kubeconfig ", ["get", "merge", "remove"]),
        ("kins completion ", ["bash", "zsh", "fish"]),
        ("kins logs kube-c", [name for name in COMPONENT_NAMES if name.startswith("kube-c")]),
        ("kins status ", ["dev"]),
        ("kins down d", ["dev"]),
        ("kins down x", []),
        ("kins list --output ", ["text", "json"]),
        ("kins intercept --backend ", ["auto", "ptrace", "notify"]),
        ("kins intercept --rule st", ["statfs:", "statfs:mount:", "statfs:type:"]),
        ("kins intercept --rule statfs:/var=ex", ["statfs:/var=ext4"]),
        ("kins intercept --rule redirect:/var=ex", []),
    ],
)
@pytest.mark.usefixtures("crashed")
def test_completion(command: Command, words: str, offered: list[str]) -> None:
    assert completed(command, words) == offered


@pytest.mark.usefixtures("crashed")
def test_bash_completes_with_the_script(command: Command) -> None:
    script = (
        "source <(kins completion bash)\n"
        "function=$(complete -p kins | sed -E 's/.* -F ([^ ]+) .*/\\1/')\n"
        "COMP_WORDS=(kins stat) COMP_CWORD=1\n"
        '"$function" kins stat kins\n'
        'echo "${COMPREPLY[*]}"\n'
        "COMPREPLY=() COMP_WORDS=(kins status '') COMP_CWORD=2\n"
        "\"$function\" kins '' status\n"
        'echo "${COMPREPLY[*]}"\n'
    )
    done = subprocess.run(
        ["bash", "-c", script], env=command.environment, capture_output=True, text=True, check=False, timeout=LIMIT
    )
    assert (done.stdout, done.stderr) == ("status\ndev\n", "")
