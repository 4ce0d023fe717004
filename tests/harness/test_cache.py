"""What is made once: by whom, for which key, and what a failure leaves."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest
from tests.harness.cache import hold, made_once, remove_unused


def count_up(directory: Path) -> None:
    """Make a target whose making leaves a mark."""

    def make(path: Path) -> None:
        with (directory / "made").open("a") as marks:
            marks.write("x")
        path.write_text("content")

    made_once(directory / "target", make)


def test_processes_share_what_one_makes(tmp_path: Path) -> None:
    processes = [multiprocessing.Process(target=count_up, args=(tmp_path,)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4
    assert (tmp_path / "made").read_text() == "x"
    assert (tmp_path / "target").read_text() == "content"


def test_another_key_replaces(tmp_path: Path) -> None:
    target = tmp_path / "directory"
    for key, text in (("a", "1"), ("b", "2"), ("b", "3")):

        def make(path: Path, text: str = text) -> None:
            path.mkdir()
            (path / text).touch()

        made_once(target, make, key)
    assert [path.name for path in target.iterdir()] == ["2"]


def test_a_failure_leaves_nothing_new(tmp_path: Path) -> None:
    def succeed(path: Path) -> None:
        path.write_text("old")

    def fail(path: Path) -> None:
        path.write_text("half")
        raise RuntimeError

    made_once(tmp_path / "target", succeed, "old")
    with pytest.raises(RuntimeError):
        made_once(tmp_path / "target", fail, "new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["target", "target.lock"]
    assert (tmp_path / "target").read_text() == "old"


def test_only_what_nobody_holds_is_removed(tmp_path: Path) -> None:
    held, unused = tmp_path / "held", tmp_path / "unused"
    hold(held)
    for path in (held, unused):
        path.mkdir()
    remove_unused([held, unused])
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["held"]
