"""The Go toolchain, for tests that ask it."""

from __future__ import annotations

import shutil
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
