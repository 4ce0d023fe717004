"""Wherever it is cut, `kins down` gives back what was there before: after a kill at each step, at any moment, and after
a restart of the machine, and then nothing that belongs to somebody else."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests import harness
from tests.harness.environment import Environment
from tests.harness.rootfs import USER_ID
from tests.harness.snapshot import PROGRAM, Snapshot
from tests.harness.wheel import ENVIRONMENT
from tests.scenario.cluster import PATIENCE, Cluster
from tests.scenario.environments import ENVIRONMENTS, fresh
from tests.scenario.manifests import pod

# `make cuts` takes every step; otherwise each kind of step is taken once.
CUTS = os.environ.get("KINS_TEST_CUTS", "sample")
CUTS_SECONDS = 840.0 if CUTS == "sample" else 3500.0
HOOK = Path(harness.__file__).parent
PYTHON = f"{ENVIRONMENT}/bin/python"

# A bridge, an address and a setting as a node has them, made by somebody else.
FOREIGN = """
from kins.network import addresses
from kins.sys import netlink
netlink.create_bridge(addresses.BRIDGE)
netlink.add_address("lo", addresses.with_prefix(addresses.SERVICE_RANGE, 1))
open("/proc/sys/net/ipv4/ip_forward", "w").write("1")
"""
REMOVE_FOREIGN = """
from kins.network import addresses
from kins.sys import netlink
assert open("/proc/sys/net/ipv4/ip_forward").read() == "1\\n", "the setting of somebody else"
open("/proc/sys/net/ipv4/ip_forward", "w").write("0")
netlink.delete_address("lo", addresses.with_prefix(addresses.SERVICE_RANGE, 1))
netlink.delete_link(addresses.BRIDGE)
"""

# Where a foreign control plane and kubelet listen, on every address.
LISTENING = """
import socket
servers = [socket.create_server(("", port)) for port in (2379, 2380, 6443, 10248, 10249, 10250, 10256, 10257, 10259)]
print("listening", flush=True)
servers[0].accept()
"""
FIND_CONTAINERD = "from kins.components.layout import BINARIES; print(BINARIES / 'containerd')"
CONTAINERDS_OWN = ("/etc/cni", "/opt/containerd", "/run/containerd", "/run/nri", "/var/lib/containerd")
CONTAINERD_ANSWERS = """
import socket
socket.socket(socket.AF_UNIX).connect("/run/containerd/containerd.sock")
"""


@pytest.fixture(scope="module", params=ENVIRONMENTS)
def environment(request: pytest.FixtureRequest) -> Iterator[Environment]:
    """An environment of this module's own, with the hook that stops kins at a step."""
    with fresh(request.param) as started:
        add_hook(started)
        yield started


def add_hook(environment: Environment) -> None:
    """For every user."""
    environment.run(["mkdir", "/opt/cuts"])
    for name, source in (("sitecustomize.py", "cut_hook.py"), ("cuts.py", "cuts.py")):
        environment.write(f"/opt/cuts/{name}", (HOOK / source).read_text())


@pytest.fixture
def before(environment: Environment) -> Snapshot:
    """What the environment looks like before the test."""
    return environment.snapshot()


def test_every_cut(environment: Environment) -> None:
    """Nothing is left after `kins down`, whichever step it was, and whoever died over it."""
    make_cuts(environment, 0, least=8)


@pytest.mark.parametrize("name", ENVIRONMENTS)
@pytest.mark.one_root("overlay")
def test_every_cut_for_an_ordinary_user(name: str) -> None:
    """The same for the node in a user namespace, with a tracer and control groups of its own."""
    with fresh(name) as environment:
        add_hook(environment)
        make_cuts(environment, USER_ID, least=7)


def make_cuts(environment: Environment, user: int, least: int) -> None:
    """By a program inside, each looked at; no fewer than so many, in each of the three ways."""
    done = environment.run(["python3", "/opt/cuts/cuts.py", CUTS, str(user)], text=PROGRAM, timeout=CUTS_SECONDS)
    cuts = [json.loads(line) for line in done.stdout.splitlines()]
    print("\n".join(f"{each['seconds']:5.2f} s  {each['cut']}  {each['step']}" for each in cuts))
    assert len(cuts) >= least
    assert {each["cut"].partition(":")[0] for each in cuts} == {"cut_up", "cut_daemon", "cut_down"}
    assert [each for each in cuts if each["left"]] == []


@pytest.mark.one_root("9p")
def test_an_interrupt_at_any_moment(environment: Environment, before: Snapshot) -> None:
    """Ctrl-C over each command that changes a cluster. `up` takes back what it began; the rest is left to `down`."""
    interrupt(environment, "up", 3.0)
    assert environment.changes_since(before) == "", "of a cluster that did not come up"
    environment.kins("up", "--no-wait", timeout=PATIENCE)
    for command, longest in (("stop", 1.5), ("start", 2.0), ("down", 1.0)):
        interrupt(environment, command, longest)
    environment.kins("down", timeout=PATIENCE)
    assert environment.changes_since(before) == ""


def interrupt(environment: Environment, name: str, longest: float) -> None:
    """Ctrl-C after at most so many seconds; a command that was done before is undone by `down`."""
    moment = random.uniform(0.0, longest)
    with environment.spawn(["kins", name]) as command:
        time.sleep(moment)  # the moment is what is tested
        command.kill(signal.SIGINT)
        code, said = command.finish(PATIENCE)
    print(f"{name} interrupted after {moment:.2f} s: exit {code}, {said}")
    # Python itself ends with 1 when it is interrupted over its own start, before it has come to kins.
    assert code in (0, 130) or "init_import_site" in said, said
    if name == "up" and code == 0:
        environment.kins("down", timeout=PATIENCE)


@pytest.mark.one_root("9p")
def test_one_command_at_a_time(environment: Environment, before: Snapshot) -> None:
    """What comes while `up` works is refused with one clear answer; an `up` that was killed leaves a cluster that comes
    up all the same, and the next one waits for that."""
    with environment.spawn(["kins", "up"]) as command:
        command.line_with("prepared")
        for other in ("up", "down", "stop"):
            assert refusal(environment, other) == "cluster-busy"
        command.kill(signal.SIGKILL)
        command.finish(PATIENCE)
    joined = environment.kins_json("up", timeout=PATIENCE + 10)
    assert (joined["outcome"], joined["level"]) == ("already-running", "node")
    assert refusal(environment, "up", "other") == "node-exists"
    environment.kins("down", timeout=PATIENCE)
    assert environment.changes_since(before) == ""


@pytest.mark.one_root("9p")
@pytest.mark.parametrize("names", [("default", "default"), ("one", "other")])
def test_two_at_once(environment: Environment, before: Snapshot, names: tuple[str, str]) -> None:
    """One comes up, and the other says why it does not."""
    commands = [environment.spawn(["kins", "up", name, "--no-wait", "--output", "json"]) for name in names]
    ends = [command.finish(PATIENCE) for command in commands]
    answers = [json.loads(said) for _, said in ends]
    codes = [answer["error"]["code"] for answer in answers if not answer["ok"]]
    assert codes in (["cluster-busy"], ["node-exists"], []), ends
    assert len(answers) - len(codes) == 1 or answers[0]["result"]["outcome"] != answers[1]["result"]["outcome"]
    environment.kins("down", "--all", timeout=PATIENCE)
    assert environment.changes_since(before) == ""


@pytest.mark.one_root("9p")
def test_beside_other_node_software(environment: Environment, before: Snapshot) -> None:
    """A containerd at the usual places, and the ports of a usual node and its control plane: neither is touched."""
    containerd = environment.output(PYTHON, "-c", FIND_CONTAINERD).strip()
    with environment.spawn([PYTHON, "-c", LISTENING]) as ports, environment.spawn([containerd]) as foreign:
        ports.line_with("listening")
        foreign.line_with("containerd successfully booted")
        beside = environment.snapshot()
        assert environment.kins_json("up", timeout=PATIENCE + 10)["level"] == "node"
        environment.kins("down", timeout=PATIENCE)
        assert environment.changes_since(beside) == ""
        environment.run([PYTHON, "-c", CONTAINERD_ANSWERS])
        foreign.kill(signal.SIGTERM)
        foreign.finish(PATIENCE)
    environment.run(["rm", "-rf", *CONTAINERDS_OWN])
    assert environment.changes_since(before) == ""


def refusal(environment: Environment, *arguments: str) -> str:
    """The code of a command's error, which has a hint."""
    answer = environment.kins(*arguments, "--output", "json", timeout=PATIENCE + 10, check=False)
    assert answer.returncode == 1, answer
    error: dict[str, Any] = json.loads(answer.stdout)["error"]
    assert error["hint"], error
    return str(error["code"])


def test_a_restart(environment: Environment, before: Snapshot) -> None:
    """The journal is of another kernel, or of a network that is gone. `up` brings the cluster back; `down` removes
    files, and no link, address or setting that somebody else has made meanwhile."""
    if environment.name == "gvisor-overlay":
        pytest.skip("its files are in memory, and nothing of a cluster is left after a restart")
    began = environment.kins_json("up", "--no-wait", timeout=PATIENCE)
    assert began["outcome"] == "created"
    environment.restart()
    assert environment.kins_json("up", timeout=PATIENCE + 10)["outcome"] == "recovered"
    cluster = Cluster(environment, "default")
    cluster.wait("serviceaccount/default", "create")
    cluster.apply(pod("after-restart"))
    environment.restart()
    environment.run([PYTHON, "-c", FOREIGN])
    environment.kins("down", timeout=PATIENCE)
    environment.run([PYTHON, "-c", REMOVE_FOREIGN])
    assert environment.changes_since(before) == ""
