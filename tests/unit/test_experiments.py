"""Experiments as data, what their logic makes of upstream's words, their reports, and how they run and end."""

from __future__ import annotations

import dataclasses
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from kins.errors import KinsError, UsageError
from kins.experiments import all_layers, catalogue, control_plane, docker, fake_network, fuse_groups, inside, runner
from kins.experiments.blockers import Blocker, Course, Met, Stage, Stop, recognized, shortened
from kins.experiments.context import Context
from kins.experiments.cures import KNOWN, replaced
from kins.experiments.document import WORDS, markdown, summary
from kins.experiments.files import write_result
from kins.experiments.model import Experiment, ExperimentResult, Findings, Measurement, Need, Verdict
from kins.experiments.stock_worker import blockers, reasons
from kins.experiments.worker import Worker, toml

# What upstream's programs wrote in gVisor (Kubernetes 1.36, containerd 2.3), with the blocker that it is.
WORDS_OF_UPSTREAM: list[tuple[str, Stage, str]] = [
    (
        "control groups version 1",
        "kubelet",
        'E1125 14:03:00.6 67 run.go:72] "command failed" err="failed to validate kubelet configuration, error: kubelet '
        'is configured to not run on a host using cgroup v1. cgroup v1 support is unsupported"',
    ),
    (
        "control groups",
        "kubelet",
        'E1125 14:03:02.2 103 run.go:72] "command failed" err="failed to run Kubelet: failed to get mounted cgroup '
        'subsystems: failed to find cgroup mounts"',
    ),
    (
        "/dev/kmsg",
        "kubelet",
        'E1125 14:03:03.4 142 run.go:72] "command failed" err="failed to run Kubelet: failed to create kubelet: open '
        '/dev/kmsg: no such file or directory"',
    ),
    (
        "statistics of the root",
        "kubelet",
        'E1125 14:03:04.8 181 kubelet.go:1821] "Failed to start ContainerManager" err="failed to get rootfs info: '
        'unable to find data in memory cache"',
    ),
    (
        "kernel settings",
        "kubelet",
        'E1125 14:03:06.1 220 kubelet.go:1821] "Failed to start ContainerManager" err="[write /proc/sys/vm/'
        'overcommit_memory: input/output error, open /proc/sys/vm/panic_on_oom: no such file or directory]"',
    ),
    (
        "pod network",
        "node",
        "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:Network plugin "
        "returns error: cni plugin not initialized",
    ),
    ("/etc/resolv.conf", "pod", "Failed to create pod sandbox: open /etc/resolv.conf: no such file or directory"),
    (
        "loopback plugin",
        "pod",
        'failed to setup network for sandbox "0d1": plugin type="loopback" failed (add): failed to find plugin '
        '"loopback" in path [/var/tmp]',
    ),
    ("disk pressure", "pod", "The node had condition: [DiskPressure]."),
    (
        "overlay on the root",
        "pod",
        'failed to create shim task: failed to mount rootfs component: mount source: "overlay", target: "/x", fstype: '
        "overlay, flags: 0, err: invalid argument",
    ),
]


def known() -> dict[str, Blocker]:
    return {each.name: each for each in KNOWN}


# The catalogue


def test_experiments_are_numbered_and_complete() -> None:
    numbers = [each.number for each in catalogue.EXPERIMENTS]
    assert numbers == sorted(set(numbers))
    for each in catalogue.EXPERIMENTS:
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", each.name)
        assert min(map(len, (each.title, each.hypothesis, each.method, each.reported))) > 20


def test_an_experiment_is_found_by_its_number() -> None:
    assert catalogue.by_number("2") is catalogue.by_number("02")
    with pytest.raises(UsageError) as caught:
        catalogue.by_number("99")
    assert caught.value.code == "unknown-experiment"


# Blockers


@pytest.mark.parametrize(("name", "stage", "words"), WORDS_OF_UPSTREAM)
def test_what_upstream_says_is_recognized(name: str, stage: Stage, words: str) -> None:
    found = recognized(Stop(stage, f"I1125 something else\n{words}", 1.0), known(), set())
    assert found is not None
    assert found.name == name


def test_words_of_another_stage_are_not_taken() -> None:
    stopped = Stop("pod", WORDS_OF_UPSTREAM[2][2], 1.0)
    assert recognized(stopped, known(), set()) is None


def test_a_cure_is_applied_once() -> None:
    name, stage, words = WORDS_OF_UPSTREAM[0]
    assert recognized(Stop(stage, words, 1.0), known(), {name}) is None


def test_the_last_words_count() -> None:
    both = f"{WORDS_OF_UPSTREAM[2][2]}\n{WORDS_OF_UPSTREAM[3][2]}"
    found = recognized(Stop("kubelet", both, 1.0), known(), set())
    assert found is not None
    assert found.name == "statistics of the root"


def test_another_cure_for_a_blocker() -> None:
    def cure(_: Worker) -> None:
        """Does nothing."""

    found = replaced(KNOWN, "pod network", cure, "nothing")
    assert found["pod network"].cure is cure
    assert found["pod network"].symptom == known()["pod network"].symptom
    assert len(found) == len(KNOWN)


def test_a_reason_is_told_in_its_telling_line() -> None:
    text = f"I1125 started\n{WORDS_OF_UPSTREAM[3][2]}\nI1125 stopped"
    assert "unable to find data" in shortened(text, 300)
    assert len(shortened("x" * 1000, 100)) == 100
    assert shortened("", 10) == ""


def test_a_course_is_told_in_order() -> None:
    name, stage, words = WORDS_OF_UPSTREAM[0]
    course = Course((Met(Stop(stage, words, 0.7), known()[name]), Met(Stop("pod", "no word", 2.0), None)), None, None)
    first, second = blockers(course)
    assert first.name == "blocker 1 (kubelet)"
    assert "failCgroupV1: false" in first.value
    assert second.value == "not known, after 2.0 s; cure: none is known"
    assert [each.source for each in reasons(course)] == ["blocker 1", "blocker 2"]
    assert not course.works
    assert Course((), 1.0, 2.0).works


def test_settings_as_toml() -> None:
    assert toml({"a": "true", "b": '"x"'}) == 'a = true\nb = "x"'


# Parts of single experiments


def test_the_chart_is_rendered_without_helm() -> None:
    text = control_plane.rendered()
    assert "{{" not in text
    assert text.count("\n---\n") + 1 == control_plane.KINDS
    assert f"name: {control_plane.RELEASE}\n" in text


def test_the_fake_plugin_answers_as_the_specification_wants(tmp_path: Path) -> None:
    plugin = tmp_path / "nothing"
    plugin.write_text(fake_network.PLUGIN)

    def answer(command: str) -> str:
        environment = {**os.environ, "CNI_COMMAND": command}
        done = subprocess.run(["sh", plugin], env=environment, input="{}", capture_output=True, text=True, check=True)
        return done.stdout

    assert msgspec.json.decode(answer("ADD"))["ips"] == [{"address": f"{fake_network.ADDRESS}/16"}]
    assert msgspec.json.decode(answer("VERSION"))["supportedVersions"] == ["1.0.0"]
    assert answer("DEL") == ""


def test_busy_seconds_are_those_of_all_cores() -> None:
    ticks = os.sysconf("SC_CLK_TCK")
    text = f"cpu  {2 * ticks} {ticks} {4 * ticks} 1000 50 0 0 0 0 0\ncpu0 1 1 1 1 0 0 0 0 0 0\nintr 7\n"
    assert fuse_groups.busy_seconds(text) == 7.0


def test_files_of_the_root_groups_are_read(tmp_path: Path) -> None:
    group = tmp_path / "cpuacct" / "kubepods"
    group.mkdir(parents=True)
    for path in (tmp_path / "cpuacct" / "cpuacct.usage", group / "cpuacct.usage"):
        path.write_text("1\n")
    write_only = tmp_path / "cpuacct" / "cgroup.event_control"
    write_only.write_text("")
    write_only.chmod(0o200)
    reading = fuse_groups.read_all(tmp_path)
    assert (len(reading.seconds), reading.errors) == (1, [])


def test_figures_of_a_node_are_read_or_named_missing() -> None:
    node = {"memory": {"workingSetBytes": 2**31}, "cpu": {"usageNanoCores": 5 * 10**8}, "fs": {"capacityBytes": 2**34}}
    found = all_layers.read_summary(node)
    assert (found.readable, found.text) == (True, "0.50 cores, 2.0 GiB in use, disk of 16 GiB")
    assert all_layers.read_summary({**node, "cpu": {}}) == all_layers.NodeFigures(False, "without figures of: cpu")


def outcome(root: str, kubelet: str) -> docker.Outcome:
    return docker.Outcome("vfs", root, "" if root else "not supported", kubelet)


CACHE = 'E1125 "Failed to start ContainerManager" err="failed to get rootfs info: unable to find data in memory cache"'


def test_docker_refutes_only_when_every_container_meets_the_error() -> None:
    met, other, none = outcome("overlay", CACHE), outcome("overlay", "E1125 something else"), outcome("", "")
    assert docker.judged("", {"a": met, "b": none}).verdict == "refuted"
    assert docker.judged("", {"a": met, "b": other}).verdict == "confirmed"
    assert docker.judged("", {"b": none}).verdict == "failed"


def test_a_kubelet_ends_with_its_last_error() -> None:
    assert docker.ending(["I1 a", CACHE, "E1125 unrelated", "I1 b"]) == CACHE
    assert docker.ending([]) == "no word"


# Running


def experiment(run: Callable[[Context], Findings], **fields: Any) -> Experiment:
    texts = {name: f"The {name} of it." for name in ("title", "hypothesis", "method", "reported")}
    return Experiment(number="99", name="made-up", run=run, **{**texts, **fields})


def context(directory: Path) -> Context:
    return Context(directory, 1.0, lambda _: None)


def test_what_is_missing_is_told_and_nothing_is_run(tmp_path: Path) -> None:
    def run(_: Context) -> Findings:
        raise AssertionError("it lacks something")

    lacking = experiment(run, needs=(Need(lambda: None), Need(lambda: "a second moon")))
    result = inside.run(lacking, context(tmp_path))
    assert result.verdict == "not-run"
    assert result.lacks == ("a second moon",)
    assert "a second moon" in result.conclusion


def test_what_was_made_is_undone_also_after_a_failure(tmp_path: Path) -> None:
    undone: list[str] = []

    def run(given: Context) -> Findings:
        given.undoing.callback(undone.append, "first")
        given.undoing.callback(undone.append, "second")
        raise KinsError("the moon is away", code="experiment-failed")

    result = inside.run(experiment(run), context(tmp_path))
    assert result.verdict == "failed"
    assert "the moon is away" in result.conclusion
    assert undone == ["second", "first"]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where experiments have their directory."""
    monkeypatch.setattr(runner, "PLACE", tmp_path)
    yield tmp_path
    assert list(tmp_path.iterdir()) == []


def test_a_result_comes_from_a_process_of_its_own(place: Path) -> None:
    """An experiment that needs gVisor, which this machine is not: it says so."""
    said: list[str] = []
    (ran,) = runner.run_experiments([catalogue.by_number("02")], 1.0, said.append)
    result = ran.result
    assert result.verdict == "not-run"
    assert any("gVisor" in cause for cause in result.lacks)
    assert said[0].startswith("02 ")


def test_a_process_without_a_result_has_failed(place: Path) -> None:
    unknown = dataclasses.replace(catalogue.by_number("02"), number="99", isolated=False)
    (ran,) = runner.run_experiments([unknown], 1.0, lambda _: None)
    result = ran.result
    assert result.verdict == "failed"
    assert "status 1" in result.conclusion


def test_two_runs_at_once_are_refused(place: Path) -> None:
    with runner._directory():
        with pytest.raises(KinsError) as caught:
            list(runner.run_experiments([], 1.0, lambda _: None))
        assert caught.value.code == "experiments-running"


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root")


@needs_root
def test_isolation_ends_with_its_command() -> None:
    """Processes and mounts of the namespaces are not seen outside, and the exit status is the command's."""
    script = "import os; os.system('mount -t tmpfs t /mnt; sleep 1000 &'); print(os.getpid()); raise SystemExit(7)"
    done = subprocess.run(
        [sys.executable, "-m", "kins.experiments.isolation", sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == 7, done.stderr
    assert int(done.stdout) < 10
    assert " /mnt " not in Path("/proc/self/mountinfo").read_text()


@needs_root
def test_isolation_passes_an_interruption_on_and_dies_with_its_parent() -> None:
    script = "import time\ntry:\n print('ready', flush=True)\n time.sleep(100)\nexcept KeyboardInterrupt: print('told')"
    command = [sys.executable, "-m", "kins.experiments.isolation", sys.executable, "-c", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.read() == "told\n"
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        began = time.monotonic()
        process.kill()
        # Its end comes when the last process that holds the pipe is gone.
        assert process.stdout.read() == ""
        assert time.monotonic() - began < 10


# Reports


def result(verdict: Verdict) -> ExperimentResult:
    found = inside.run(
        experiment(
            lambda _: Findings(
                verdict=verdict, conclusion="It is so.", measurements=(Measurement(name="a|b", value="1"),)
            )
        ),
        context(Path("/")),
    )
    assert found.verdict == verdict
    return found


@pytest.mark.parametrize("verdict", get_args(Verdict))
def test_a_report_says_all(verdict: Verdict, tmp_path: Path) -> None:
    found = result(verdict)
    text = markdown(found, "kins experiments run 99")
    assert text.startswith(f"# 99 The title of it.: {WORDS[verdict]}\n")
    for part in ("The hypothesis of it.", "The method of it.", "The reported of it.", "It is so.", "| a\\|b | 1 |"):
        assert part in text
    assert "99 The title of it." in summary([found])
    write_result(runner.Ran(found, {"memory.svg": b"<svg/>"}), tmp_path, "kins experiments run 99")
    assert (tmp_path / "99-made-up-memory.svg").read_bytes() == b"<svg/>"
    written = (tmp_path / "99-made-up.json").read_bytes()
    assert msgspec.json.decode(written, type=ExperimentResult) == found
    assert (tmp_path / "99-made-up.md").read_text() == text
