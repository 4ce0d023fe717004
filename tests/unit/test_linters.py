"""The linters and type checks, as tests: a missing tool fails, it does not skip."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# The flags of the engine's build, so that its compiled packages are found in Go's cache.
GO_FLAGS = ["-trimpath", "-tags", "grpcnotrace,notest,netgo,osusergo"]


def python_tool(name: str) -> str:
    """A tool of the development group, beside the Python that runs the tests."""
    tool = Path(sys.executable).parent / name
    assert tool.exists(), f"{tool} is missing: pip install --group dev"
    return str(tool)


def check(command: list[str], *, directory: Path = ROOT, **environment: str) -> str:
    """The output of a linter that must succeed; what it says is the failure's text."""
    done = subprocess.run(
        command, cwd=directory, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
    return done.stdout


def tracked(*patterns: str) -> list[str]:
    """Files of the work tree that git does not ignore, whether committed yet or not."""
    listed = check(["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns])
    return [name for name in listed.splitlines() if (ROOT / name).is_file()]


def shell_scripts() -> list[str]:
    """Every file whose first line names a shell."""
    names = (name for name in tracked() if Path(name).suffix in ("", ".sh"))
    return [name for name in names if is_shell_script(ROOT / name)]


def is_shell_script(path: Path) -> bool:
    """Whether a file begins with #! and a shell."""
    with path.open("rb") as file:
        first = file.readline(80)
    return first.startswith(b"#!") and first.split()[-1].endswith(b"sh")


def test_ruff_check() -> None:
    check([python_tool("ruff"), "check", "."])


def test_ruff_format() -> None:
    check([python_tool("ruff"), "format", "--check", "--diff", "."])


def test_mypy() -> None:
    check([python_tool("mypy")])


def test_layers() -> None:
    # PYTHONPATH: the sources are what is checked, also where a wheel of them is installed.
    check([python_tool("lint-imports")], PYTHONPATH=str(ROOT / "src"))


def test_shellcheck() -> None:
    scripts = shell_scripts()
    assert ".ci/run" in scripts
    check([python_tool("shellcheck"), *scripts])


def test_gofmt(gofmt: str) -> None:
    sources = tracked("*.go")
    assert sources
    assert check([gofmt, "-l", *sources]) == ""


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("module", ["engine", "network"])
def test_go_vet(go: str, module: str) -> None:
    check([go, "vet", *GO_FLAGS, "./..."], directory=ROOT / module, CGO_ENABLED="0", GOTOOLCHAIN="local")
