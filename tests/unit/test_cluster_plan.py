"""One list for the run, the script and the undoing: what is told is what is done."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.trees import modes, tree

import kins
from kins.cluster import home_directory, planning, store
from kins.cluster.cluster_plan import ClusterPlan
from kins.cluster.decisions import decide, resting_on, without_node
from kins.cluster.diagnosis import Report
from kins.cluster.dry_run import Planned, dry_run, told
from kins.cluster.preparation import Surroundings
from kins.cluster.script import rendering
from kins.cluster.spec import ClusterSpec, Record
from kins.components import COMPONENT_NAMES, Layout
from kins.components.layout import BINARIES
from kins.components.settings import Ports
from kins.errors import KinsError
from kins.plan import AnyStep
from kins.plan.files import CreateFile, MakeDirectory
from kins.sandbox import Facts

PLANS = Path(__file__).parent / "plans"
FACTS = Path(__file__).parent / "facts"
SOURCES = Path(kins.__file__).resolve().parents[1]
FUNCTIONS = Path(rendering.__file__).parent / "functions.sh"
# Where a user's installation might be, and what a run chooses: golden files are the same on every machine.
PLACE = Layout(Path("/home/kins/clusters/default"))
INSTALLED = {sys.executable: "/opt/kins/bin/python", str(BINARIES): "/opt/kins/lib/kins/_bin"}
PORTS = Ports(**{field.name: 40001 + order for order, field in enumerate(msgspec.structs.fields(Ports))})
SURROUNDINGS = Surroundings(
    resolver_lines=("nameserver 192.168.1.1", "search example.org"),
    credentials="/root/.docker/config.json",
    pause_image="kins.example/pause:1",
)
# Sandboxes of the library whose plan is, line by line, that of another one.
SAME = {
    "gvisor-9p": "gvisor-overlay",
    "gvisor-9p-docker-capabilities": "gvisor-docker-capabilities",
    "gvisor-sandbox-network": "gvisor-overlay",
}
# A plan for each sandbox, and for each request that makes it another one: (facts, request).
ASKED = {
    "control-plane": (None, ClusterSpec(level="control-plane", registry=5000)),
    "everything": (
        "gvisor-overlay",
        ClusterSpec(
            additions=("intercept", "cgroupfs"), registry=5000, arguments={"kubelet": ("--v=4",)}, fake_nodes=1
        ),
    ),
    "fake": (None, ClusterSpec(level="fake", fake_nodes=2)),
    "stock-kubelet": ("gvisor-overlay", ClusterSpec(kubelet="stock")),
}


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user's environment and machine, the same for all."""
    for name in [name for name in os.environ if name.lower().endswith("_proxy") or name.startswith(("SSL_", "XDG_"))]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.setenv("HOME", "/root")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")


def plan(facts: Facts | None, spec: ClusterSpec) -> ClusterPlan:
    """As it follows from recorded facts."""
    decisions = without_node(spec)
    if facts is not None:
        decisions = decide(facts, spec)
        facts = resting_on(facts, decisions)
    settings = planning.settings(spec, decisions, PORTS)
    return ClusterPlan(PLACE, Record(identity="0a1b2c", spec=spec, decisions=decisions, settings=settings), facts)


def recorded(name: str) -> Facts:
    """The facts of a sandbox."""
    return msgspec.json.decode((FACTS / f"{name}.json").read_bytes(), type=Report).facts


def plans() -> Iterator[tuple[str, ClusterPlan]]:
    """Every plan that has a golden file."""
    for path in sorted(FACTS.iterdir()):
        yield path.stem, plan(recorded(path.stem), ClusterSpec())
    for name, (facts, spec) in ASKED.items():
        yield name, plan(recorded(facts) if facts is not None else None, spec)


def script(planned: Planned) -> str:
    """Without what differs from machine to machine."""
    text = planned.script
    for here, there in INSTALLED.items():
        text = text.replace(here, there)
    return text


# Golden files


@pytest.mark.parametrize(("name", "expected"), [pytest.param(*each, id=each[0]) for each in plans()])
def test_scripts_are_as_recorded(name: str, expected: ClusterPlan) -> None:
    """After a change on purpose: KINS_RECORD_PLANS=1 .venv/bin/python -m pytest tests/unit/test_cluster_plan.py"""
    path, text = PLANS / f"{SAME.get(name, name)}.sh", script(told(expected, SURROUNDINGS))
    if os.environ.get("KINS_RECORD_PLANS"):
        path.write_text(text)
    assert text == path.read_text()


def test_every_recorded_script_has_its_plan() -> None:
    assert {path.stem for path in PLANS.iterdir()} == {SAME.get(name, name) for name, _ in plans()}


@pytest.mark.parametrize("path", sorted(PLANS.glob("*.sh")), ids=lambda path: path.stem)
def test_scripts_parse(path: Path) -> None:
    # shellcheck reads them with the other shell scripts (test_linters.py)
    subprocess.run(["sh", "-n", path], check=True)


def test_every_component_is_in_some_plan() -> None:
    told_of = {name for _, each in plans() for name in each.components}
    # It is started by builds alone.
    assert told_of == set(COMPONENT_NAMES) - {"buildkitd"}


def test_components_stand_behind_those_that_they_need() -> None:
    for name, each in plans():
        order = list(each.components)
        for component in each.components.values():
            needed = [*component.needs, *([component.binds_to] if component.binds_to else [])]
            assert all(order.index(other) < order.index(component.name) for other in needed), (name, component.name)


def test_the_script_has_every_step_component_and_file() -> None:
    for _, each in plans():
        planned = told(each, SURROUNDINGS)
        lines = planned.script.splitlines()
        assert all(step.shell in lines for step in planned.steps)
        assert all(f"component {component.name} env -i \\" in lines for component in planned.components)
        assert all(file.path in planned.script for file in planned.files)


def test_a_network_of_the_nodes_own_is_not_taken_back() -> None:
    """It has ended when the script undoes what is noted; in the sandbox's own nothing of it was ever made."""
    text = script(told(plan(recorded("gvisor-docker-capabilities"), ClusterSpec()), SURROUNDINGS))
    assert "\nip link add kins0 type bridge" in text
    assert not re.search(r"^note_(link|address|value) ", text, re.MULTILINE)
    assert re.search(r"^note_groups ", text, re.MULTILINE)


def test_resolvers_on_loopback_are_found_elsewhere_in_a_network_of_the_nodes_own() -> None:
    """containerd and BuildKit ask for registries by /etc/resolv.conf."""
    facts = msgspec.structs.replace(recorded("gvisor-docker-capabilities"), resolvers={"127.0.0.11": "answers"})
    lines = ("search example.org", "nameserver 127.0.0.11", "nameserver 192.0.2.53", "options ndots:0")
    surroundings = msgspec.structs.replace(SURROUNDINGS, resolver_lines=lines)
    text = script(told(plan(facts, ClusterSpec()), surroundings))
    inner = "search example.org\nnameserver 169.254.0.11\nnameserver 192.0.2.53\noptions ndots:0\n"
    assert f"cat > {PLACE.outer_resolvers} <<'END'\n{inner}" in text
    assert f"mount --bind {PLACE.outer_resolvers} /etc/resolv.conf" in text
    assert "forward . 169.254.0.11" in text


# Steps


@pytest.mark.parametrize(
    "steps",
    [
        [MakeDirectory(path="{}/a/b c", because="test"), CreateFile(path="{}/a/b c/file", because="test")],
        [CreateFile(path="{}/line", content="it's 1\n", because="test")],
        [CreateFile(path="{}/lines", content="1\n2\n", mode=0o600, because="test")],
        [CreateFile(path="{}/text", content="no end", because="test")],
        [CreateFile(path="{}/there", content="ours\n", because="test"), MakeDirectory(path="{}/d", because="test")],
    ],
    ids=lambda steps: steps[0].path[3:],
)
def test_steps_are_as_their_shell_does_them_and_undoes_them(steps: list[AnyStep], tmp_path: Path) -> None:
    for name in ("done", "typed"):
        (tmp_path / name / "d").mkdir(parents=True)
        (tmp_path / name / "there").write_text("theirs")
    before = tree(tmp_path / "done")
    for step in at(steps, tmp_path / "done"):
        if ready := step.prepare():
            ready.execute()
    typed = at(steps, tmp_path / "typed")
    shell(tmp_path, "\n".join(line for step in typed for line in (step.note(), step.describe())))
    assert tree(tmp_path / "typed") == tree(tmp_path / "done")
    assert modes(tmp_path / "typed") == modes(tmp_path / "done")
    shell(tmp_path, "undo")
    assert tree(tmp_path / "typed") == before


def at(steps: Iterable[AnyStep], place: Path) -> list[Any]:
    """Steps whose paths begin at a place."""
    return [msgspec.structs.replace(step, path=step.path.format(place)) for step in steps]


def shell(place: Path, text: str) -> None:
    """Run lines with the functions of every script; what is to be undone is kept in a directory beside."""
    (place / "cluster").mkdir(exist_ok=True)
    beginning = f"set -eu\nCLUSTER={place}/cluster\nENTER=\n. {FUNCTIONS}\n"
    subprocess.run(["sh", "-c", beginning + text], check=True)


# The commands


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home for clusters that is not there, in a directory that is not there."""
    # Not pytest's own: its paths are too long for sockets.
    with tempfile.TemporaryDirectory(prefix="kins-") as place:
        monkeypatch.setenv("KINS_HOME", f"{place}/not/there")
        yield Path(place)


def printed(*arguments: str) -> str:
    """What a command prints, without what is chosen anew each time: ports and the identity."""
    done = subprocess.run(
        [sys.executable, "-m", "kins.cli", *arguments],
        env={**os.environ, "PYTHONPATH": str(SOURCES)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return re.sub(r"\b\d{5}\b|kins-default-[0-9a-f]{6}", "…", done.stdout)


def test_a_plan_leaves_nothing_and_a_dry_run_is_the_same(nowhere: Path) -> None:
    plan = printed("plan", "--registry-port", "5999")
    assert list(nowhere.iterdir()) == []
    assert printed("up", "--dry-run", "--registry-port", "5999") == plan
    assert list(nowhere.iterdir()) == []
    assert "component registry env -i" in plan


def test_a_plan_for_programs(nowhere: Path) -> None:
    document = json.loads(printed("plan", "--level", "control-plane", "--output", "json"))
    result = msgspec.convert(document["result"], Planned)
    assert (document["command"], result.level, result.steps) == ("plan", "control-plane", ())
    assert [component.name for component in result.components][:2] == ["etcd", "kube-apiserver"]
    assert f"{result.script}" == printed("plan", "--level", "control-plane")


def test_what_up_refuses_is_no_plan(nowhere: Path) -> None:
    with pytest.raises(KinsError) as caught:
        dry_run(ClusterSpec(level="control-plane", additions=("cgroupfs",)))
    assert caught.value.code == "needs-node"


def test_a_running_cluster_has_no_plan(nowhere: Path) -> None:
    files = store.layout("default")
    files.make_directories()
    store.save(files.supervisor, store.ProcessRecord.of(os.getpid()))
    with pytest.raises(KinsError) as caught:
        dry_run(ClusterSpec())
    assert caught.value.code == "already-running"


def test_a_lent_home_is_given_back(nowhere: Path) -> None:
    with home_directory.lent() as home:
        assert home.is_dir()
    assert list(nowhere.iterdir()) == []


def test_a_lent_home_that_was_there_stays(nowhere: Path) -> None:
    home_directory.path().mkdir(parents=True)
    with home_directory.lent() as home:
        (home / "probe").mkdir()
        shutil.rmtree(home / "probe")
    assert home_directory.path().is_dir()


def test_what_somebody_put_into_a_lent_home_stays(nowhere: Path) -> None:
    with home_directory.lent() as home:
        (home / "clusters").mkdir()
    assert (home_directory.path() / "clusters").is_dir()
