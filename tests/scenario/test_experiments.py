"""The experiments in a gVisor sandbox on 9p: short ones give their answers, and all that they make is undone."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from tests.harness.environment import Environment
from tests.harness.snapshot import Snapshot
from tests.scenario.environments import fresh

# Bringing a worker up takes a minute and a half where others use the machine too.
SECONDS = 400.0

pytestmark = [pytest.mark.sandbox, pytest.mark.xdist_group("experiments"), pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def environment() -> Iterator[Environment]:
    """A sandbox without Docker and without a cluster."""
    with fresh("gvisor-9p") as started:
        yield started


@pytest.fixture
def unchanged(environment: Environment) -> Iterator[Snapshot]:
    """Nothing of a test is left in the sandbox."""
    before = environment.snapshot()
    yield before
    assert environment.changes_since(before) == ""


def run(environment: Environment, number: str, minutes: float = 0.2) -> tuple[int, dict[str, Any]]:
    """Exit status and result of an experiment."""
    command = ["experiments", "run", number, "--minutes", f"{minutes:g}", "--output", "json"]
    done = environment.kins(*command, timeout=60 * minutes + SECONDS, check=False)
    (result,) = json.loads(done.stdout)["result"]
    return done.returncode, result


def test_what_is_missing_is_told(environment: Environment, unchanged: Snapshot) -> None:
    listed = environment.kins_json("experiments", "list")
    assert [each["number"] for each in listed] == [f"{number:02}" for number in range(1, 9)]
    assert {each["number"] for each in listed if each["lacks"]} == {"03"}
    code, result = run(environment, "03")
    assert (code, result["verdict"]) == (1, "not-run")
    assert any("docker.io" in cause for cause in result["lacks"])


def test_a_control_plane(environment: Environment, unchanged: Snapshot) -> None:
    code, result = run(environment, "01")
    assert (code, result["verdict"]) == (0, "confirmed"), result["conclusion"]
    measured = {each["name"]: each["value"] for each in result["measurements"]}
    assert measured["chart"].startswith("9 of 9 kinds of objects by kubectl apply")
    assert measured["workflows"] == "22 of 22 went well"


def test_what_stops_a_stock_worker(environment: Environment, unchanged: Snapshot) -> None:
    code, result = run(environment, "02")
    assert (code, result["verdict"]) == (0, "refuted"), result["conclusion"]
    met = [each["value"].partition(",")[0] for each in result["measurements"] if each["name"].startswith("blocker")]
    assert met[:5] == [
        "control groups version 1",
        "control groups",
        "/dev/kmsg",
        "statistics of the root",
        "kernel settings",
    ]
    assert "pod network" in met
    assert "was Ready without a break" in result["conclusion"]


def test_a_tracer_that_tells_another_type_does_not_cure_the_cache_error(
    environment: Environment, unchanged: Snapshot
) -> None:
    code, result = run(environment, "06")
    assert (code, result["verdict"]) == (0, "refuted"), result["conclusion"]
    measured = {each["name"]: each["value"] for each in result["measurements"]}
    assert measured["type of the root as the kernel tells it"] == "0x1021997"
    assert measured["type of the root as the kubelet is told it"] == "ext2/ext3"
    assert measured["cache error with that, and nothing else against it"] == "yes"


def test_ctrl_c_undoes_what_was_made(environment: Environment, unchanged: Snapshot) -> None:
    with environment.spawn(["kins", "experiments", "run", "02"]) as running:
        running.line_with("/dev/null bound over")
        running.kill(signal.SIGINT)
        code, _ = running.finish(timeout=180)
    assert code == 130


def test_the_next_run_undoes_what_a_killed_one_left(environment: Environment, unchanged: Snapshot) -> None:
    with environment.spawn(["kins", "experiments", "run", "02"]) as running:
        running.line_with("cure: cpuacct.usage")
        running.kill(signal.SIGKILL)
        running.finish(timeout=60)
    run(environment, "03")
