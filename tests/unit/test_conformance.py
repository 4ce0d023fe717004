"""What is made of the reports of upstream's end-to-end suite."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.harness.conformance import Outcome, known_failures, read_junit, say

REPORT = """\
<testsuites><testsuite name="Kubernetes e2e suite">
<testcase name="[SynchronizedBeforeSuite]" status="passed" time="1"></testcase>
<testcase name="[It] [sig-network] DNS should work [Conformance]" status="passed" time="2.5"></testcase>
<testcase name="[It] [sig-network] Services should fail" status="failed" time="3">
<failure message="timed out&#xA;second line">where</failure></testcase>
<testcase name="[It] [sig-node] Pods not asked for" status="skipped" time="0"><skipped></skipped></testcase>
<testcase name="[AfterSuite]" status="panicked" time="0"><error message="panic"></error></testcase>
</testsuite></testsuites>
"""


@pytest.fixture
def outcomes(tmp_path: Path) -> list[Outcome]:
    """Those of a short report."""
    (tmp_path / "junit_01.xml").write_text(REPORT)
    return list(read_junit(tmp_path / "junit_01.xml"))


def test_what_ran_is_read_and_nodes_of_the_suite_only_when_they_failed(outcomes: list[Outcome]) -> None:
    assert outcomes == [
        Outcome("[sig-network] DNS should work [Conformance]", "passed", 2.5, ""),
        Outcome("[sig-network] Services should fail", "failed", 3.0, "timed out\nsecond line"),
        Outcome("[AfterSuite]", "failed", 0.0, "panic"),
    ]


def test_known_failures_alone_are_a_success(outcomes: list[Outcome], capsys: pytest.CaptureFixture[str]) -> None:
    assert say(outcomes, ["[sig-network] Services should fail", "[AfterSuite]"], 60) == 0
    assert say(outcomes, ["[AfterSuite]"], 60) == 1
    assert say(outcomes[:1], [], 60) == 0
    assert say([], [], 60) == 1, "that nothing ran is no success"
    said = capsys.readouterr().out
    assert "FAILED [sig-network] Services should fail\n       timed out\n" in said
    assert "1 of 3 passed in 1 min" in said


def test_the_document_names_tests() -> None:
    assert all(name.startswith("[sig-") for name in known_failures())
