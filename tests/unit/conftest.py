"""The Go toolchain, for tests that ask it, and a place that every user may enter."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

import pytest

TOOLCHAIN = Path(__file__).resolve().parents[2] / "build" / "toolchain" / "bin"


def toolchain_program(name: str) -> str:
    """A program of the toolchain that `make toolchain` chose; the one on the path where that was not run."""
    chosen = TOOLCHAIN / name
    found = str(chosen) if chosen.exists() else shutil.which(name)
    assert found, f"{name} is missing: make toolchain"
    return found


@pytest.fixture(scope="session")
def go() -> str:
    """The `go` command."""
    return toolchain_program("go")


@pytest.fixture(scope="session")
def gofmt() -> str:
    """The `gofmt` command."""
    return toolchain_program("gofmt")


@pytest.fixture
def open_path(tmp_path: Path) -> Path:
    """An empty directory that any user may enter and nobody but us may write to; pytest's own ones are closed."""
    for directory in (tmp_path, *tmp_path.parents):
        if directory.stat().st_uid == os.getuid() and not directory.stat().st_mode & stat.S_ISVTX:
            directory.chmod(directory.stat().st_mode | 0o111)
    tmp_path.chmod(0o755)
    return tmp_path
