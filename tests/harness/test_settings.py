"""The machine's sysctls, for which a directory stands in here: tests side by side would meet in the real ones."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.harness.settings import MachineSettings


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A few sysctls."""
    for name in ("fs", "kernel", "net", "vm"):
        (tmp_path / "sys" / name).mkdir(parents=True)
    (tmp_path / "sys/kernel/panic").write_text("0\n")
    (tmp_path / "sys/net/forward").write_text("0\n")
    return tmp_path / "sys"


def test_the_last_environment_restores(tmp_path: Path, directory: Path) -> None:
    first, second = (MachineSettings(tmp_path / "before.json", str(directory)) for _ in range(2))
    first.hold()
    (directory / "kernel/panic").write_text("10\n")
    second.hold()
    first.release()
    assert (directory / "kernel/panic").read_text() == "10\n"
    second.release()
    assert (directory / "kernel/panic").read_text().strip() == "0"


def test_what_is_as_it_was_is_not_written(tmp_path: Path, directory: Path) -> None:
    settings = MachineSettings(tmp_path / "before.json", str(directory))
    settings.hold()
    (directory / "kernel/panic").chmod(0o400)
    written = (directory / "kernel/panic").stat().st_mtime_ns
    settings.release()
    assert (directory / "kernel/panic").stat().st_mtime_ns == written


def test_a_network_namespace_has_its_own(tmp_path: Path, directory: Path) -> None:
    settings = MachineSettings(tmp_path / "before.json", str(directory))
    settings.hold()
    (directory / "net/forward").write_text("1\n")
    settings.release()
    assert (directory / "net/forward").read_text() == "1\n"


def test_an_earlier_end_without_release_is_forgotten(tmp_path: Path, directory: Path) -> None:
    (tmp_path / "before.json").write_text('{"kernel/panic": "99"}')
    settings = MachineSettings(tmp_path / "before.json", str(directory))
    settings.hold()
    settings.release()
    assert (directory / "kernel/panic").read_text() == "0\n"
