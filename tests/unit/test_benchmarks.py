"""The benchmarks start, and what they measure with works. Their figures are for people; nothing here judges them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks import intercept
from benchmarks.inside import intercept as inside

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.mark.parametrize("name", ["startup", "podstart", "intercept", "services"])
def test_help(name: str, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHON": sys.executable}
    done = subprocess.run(
        [BENCHMARKS / name, "--help"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: benchmarks/{name} ")


# Interception


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The C programs, compiled without a warning."""
    return intercept.compiled(tmp_path_factory.mktemp("programs"))


@pytest.fixture
def measured_files(tmp_path: Path) -> Path:
    (tmp_path / "plain").write_text("plain\n")
    (tmp_path / "redirected").write_text("original\n")
    return tmp_path


@pytest.mark.parametrize("before", [[], ["onlyfilter"], ["everycall"]], ids=str)
def test_calls_are_timed(programs: Path, measured_files: Path, before: list[str]) -> None:
    command = [*(str(programs / name) for name in before), str(programs / "calls"), str(measured_files), "3", "0.1"]
    found = json.loads(inside.run(command))
    assert list(found["nanoseconds"]) == list(intercept.CALLS)
    for name, batches in found["nanoseconds"].items():
        assert len(batches) == 3, name
        assert min(batches) > 0, name
    assert found["answers"]["redirected"] == "original"


def test_a_call_that_fails_is_told(programs: Path, tmp_path: Path) -> None:
    with pytest.raises(inside.Failed, match=r"exit 1: calls: newfstatat: No such file or directory"):
        inside.run([str(programs / "calls"), str(tmp_path), "3", "0.1"])


@pytest.mark.parametrize("name", ["onlyfilter", "everycall"])
def test_what_runs_a_command_gives_its_output_and_status(programs: Path, name: str) -> None:
    script = "(sleep 0.1; echo child) & echo parent; wait; kill -USR1 $$; exit 9"
    trap = "trap 'echo signal' USR1"
    assert inside.run([str(programs / name), "sh", "-c", "echo one; /bin/true"]) == "one\n"
    with pytest.raises(inside.Failed, match=r"exit 9: parent child signal"):
        inside.run([str(programs / name), "sh", "-c", f"{trap}; {script}"])


def test_a_way_that_hangs_is_ended_and_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inside, "LIMIT_SECONDS", 0.2)
    ways = {
        "plain": [],
        "refused": ["false"],
        "hanging": ["sleep", "1000"],
        "absent": ["/nosuch"],
        "failing": ["false"],
    }
    found = inside.rounds(
        ways, {"refused": "by name", "plain": ""}, 2, lambda before: inside.run(before) if before else 1
    )
    assert found == {
        "plain": [1, 1],
        "refused": "by name",
        "hanging": "no end within 0.2 s",
        "absent": "[Errno 2] No such file or directory: '/nosuch'",
        "failing": "exit 1: ",
    }


def run_of(place: str, **calls: object) -> intercept.Run:
    """A run in which each way has its rounds of `open`, or a reason."""
    works = dict.fromkeys(intercept.WAYS, "not there")
    described = dict.fromkeys(intercept.WAYS, "not there") | calls
    return intercept.Run(place, 0.0, {"support": {}, "calls": described, "works": works})


def rounds_of(*batches: list[float], **answers: object) -> list[dict[str, object]]:
    return [{"nanoseconds": dict.fromkeys(intercept.CALLS, each), "answers": answers} for each in batches]


def test_a_table_has_least_values_and_their_ratios() -> None:
    runs = [run_of("native", plain=rounds_of([250.0, 200.0], [900.0]), strace=rounds_of([3000.0, 4000.0]))]
    runs.append(run_of("gvisor", plain=rounds_of([1.0])))
    text = intercept.text(intercept.Results(runs), ["native"])
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| ")]
    assert rows[0] == ["", "plain", "strace"]
    assert rows[1:] == [[title, "0.200", "3.00 (15x)"] for title in intercept.CALLS.values()]
    assert text.count("native: kins, ptrace: not there") == 1
    assert "gvisor" not in text


def test_rules_that_were_not_in_force_are_told() -> None:
    right = rounds_of([1.0], **intercept.ANSWERS)
    wrong = rounds_of([1.0], redirected="original", type=1)
    results = intercept.Results([run_of("native", **{"kins-ptrace": right, "kins-notify": wrong})])
    remarks = [each for each in intercept.remarks(results, "native") if "not in force" in each]
    assert len(remarks) == 1
    assert remarks[0].startswith("native: kins, notify: ")
