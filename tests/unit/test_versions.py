"""versions.toml is the only place where a version is decided: every file that repeats one says the same."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
VERSIONS: dict[str, Any] = tomllib.loads((ROOT / "versions.toml").read_text())
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
GO_MODULES = ["builder", "engine", "network", "runtime", *(f"tests/modules/{name}" for name in VERSIONS["tests"])]
DOCUMENTS = [
    *(path for path in ROOT.glob("*.md") if path.name != "CHANGELOG.md"),
    # The experiments' reports are records: they name the versions that were measured.
    *(path for path in (ROOT / "docs").rglob("*.md") if "experiments" not in path.parent.parts),
]

# Staging modules of Kubernetes, which its go.mod names with a version that only a replace makes real.
STAGING_PLACEHOLDER = "v0.0.0"

# What documents call each thing, before its version.
NAMES_IN_DOCUMENTS = {
    "Kubernetes": VERSIONS["components"]["kubernetes"]["version"],
    "etcd": VERSIONS["components"]["etcd"]["version"],
    "containerd": VERSIONS["components"]["containerd"]["version"],
    "runc": VERSIONS["components"]["runc"]["version"],
    "metrics-server": VERSIONS["components"]["metrics-server"]["version"],
    "pause": VERSIONS["pause"]["version"],
    "Helm": VERSIONS["tests"]["helm"]["version"],
    "kwok": VERSIONS["components"]["kwok"]["version"],
    "Go": VERSIONS["go"]["minimum"],
}


def pinned_modules() -> dict[str, str]:
    """Go module path to version, as a go.mod writes it."""
    pins = [*VERSIONS["components"].values(), *VERSIONS["builder"].values(), *VERSIONS["tests"].values()]
    return {pin["module"]: f"v{pin['version']}" for pin in pins} | VERSIONS["libraries"]


def go_mod(directory: str) -> dict[str, Any]:
    """A go.mod as `go mod edit -json` would give it, without needing Go."""
    text = (ROOT / directory / "go.mod").read_text()
    requirements = re.findall(r"^(?:require )?\s*([\w.\-/~]+\.[\w.\-/~]+) (v\S+)( // indirect)?$", text, re.MULTILINE)
    replacements = re.findall(r"^(?:replace )?\s*(\S+) => (\S+) (v\S+)$", text, re.MULTILINE)
    go_line = re.search(r"^go (\S+)$", text, re.MULTILINE)
    assert go_line, f"{directory}/go.mod has no go line"
    return {
        "go": go_line[1],
        "direct": {path: version for path, version, indirect in requirements if not indirect},
        "all": {path: version for path, version, _ in requirements},
        "replace": {path: (target, version) for path, target, version in replacements},
        "tools": re.findall(r"^(?:tool |\t)([\w.\-/]+\.[\w.\-/]+)$", text, re.MULTILINE),
    }


def staging_version() -> str:
    """Kubernetes 1.36.3 has its staging modules at v0.36.3."""
    return re.sub(r"^1\.", "v0.", VERSIONS["components"]["kubernetes"]["version"])


@pytest.mark.parametrize("directory", GO_MODULES)
def test_go_line_is_the_minimum(directory: str) -> None:
    assert go_mod(directory)["go"] == VERSIONS["go"]["minimum"]


@pytest.mark.parametrize("directory", GO_MODULES)
def test_go_module_requires_what_is_pinned(directory: str) -> None:
    module = go_mod(directory)
    pins = pinned_modules()
    # BuildKit and the tests' modules bring their own choice of libraries; only what they are named for is pinned.
    if directory.startswith(("builder", "tests/")):
        named = [*VERSIONS["builder"].values(), *VERSIONS["tests"].values()]
        pins = {pin["module"]: f"v{pin['version']}" for pin in named}
    disagreeing = {path: version for path, version in module["all"].items() if pins.get(path, version) != version}
    assert not disagreeing


@pytest.mark.parametrize("directory", ["engine", "network", "runtime"])
def test_no_direct_requirement_is_decided_in_a_go_module(directory: str) -> None:
    staging = {path for path, version in go_mod(directory)["direct"].items() if is_staging(path, version)}
    assert set(go_mod(directory)["direct"]) - staging <= set(pinned_modules())


def is_staging(path: str, version: str) -> bool:
    """A staging module of Kubernetes, at the version that goes with it (or replaced by it)."""
    return path.startswith("k8s.io/") and version in (staging_version(), STAGING_PLACEHOLDER)


def test_engine_replaces_every_staging_module_by_the_version_of_kubernetes() -> None:
    module = go_mod("engine")
    placeholders = {path for path, version in module["all"].items() if version == STAGING_PLACEHOLDER}
    staging = {path: target for path, target in module["replace"].items() if path.startswith("k8s.io/")}
    assert placeholders <= set(staging)
    assert len(staging) >= 30
    assert staging == {path: (path, staging_version()) for path in staging}


def test_every_pin_is_used() -> None:
    required = {path for directory in GO_MODULES for path in go_mod(directory)["all"]}
    assert set(pinned_modules()) <= required


def test_tools_of_the_go_modules() -> None:
    assert len(go_mod("runtime")["tools"]) == 3
    for name, pin in VERSIONS["tests"].items():
        tools = go_mod(f"tests/modules/{name}")["tools"]
        assert any(tool.startswith(pin["module"]) for tool in tools)


def test_pause_and_release_date_are_those_of_the_kubernetes_module(go: str) -> None:
    kubernetes = VERSIONS["components"]["kubernetes"]
    module = f"{kubernetes['module']}@v{kubernetes['version']}"
    answer = subprocess.run([go, "mod", "download", "-json", module], capture_output=True, text=True, check=True)
    downloaded = json.loads(answer.stdout)
    makefile = (Path(downloaded["Dir"]) / "build/pause/Makefile").read_text()
    assert re.search(rf"^TAG \?= {re.escape(VERSIONS['pause']['version'])}$", makefile, re.MULTILINE)
    assert json.loads(Path(downloaded["Info"]).read_text())["Time"] == kubernetes["released"]


def test_python_dependencies() -> None:
    expected = {f"{name}>={version}" for name, version in VERSIONS["python"]["dependencies"].items()}
    assert set(PROJECT["project"]["dependencies"]) == expected


def test_python_extras() -> None:
    expected = {
        extra: {f"{name}>={version}" for name, version in needed.items()}
        for extra, needed in VERSIONS["python"]["extras"].items()
    }
    assert {extra: set(needed) for extra, needed in PROJECT["project"]["optional-dependencies"].items()} == expected


def test_every_python_dependency_says_why_and_what_it_weighs() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    extras = [name for needed in VERSIONS["python"]["extras"].values() for name in needed]
    for name in [*VERSIONS["python"]["dependencies"], *extras]:
        assert re.search(rf'^    "{name}>=.*",\s+# .{{15,}}; .*\d MB', text, re.MULTILINE), name


def test_python_development_tools() -> None:
    pins = {name: version for name, version in VERSIONS["python"]["development"].items() if name != "pip"}
    pins |= VERSIONS["python"]["build"]
    assert set(PROJECT["dependency-groups"]["dev"]) == {f"{name}=={version}" for name, version in pins.items()}


def test_python_build_requirement_and_minimum() -> None:
    minimum = VERSIONS["python"]["minimum"]
    assert PROJECT["build-system"]["requires"] == [f"hatchling=={VERSIONS['python']['build']['hatchling']}"]
    assert PROJECT["project"]["requires-python"] == f">={minimum}"
    assert PROJECT["tool"]["mypy"]["python_version"] == minimum
    assert PROJECT["tool"]["ruff"]["target-version"] == f"py{minimum.replace('.', '')}"


def test_project_version_is_read_and_not_repeated() -> None:
    assert "version" in PROJECT["project"]["dynamic"]
    source = PROJECT["tool"]["hatch"]["version"]
    found = re.search(source["pattern"], (ROOT / source["path"]).read_text(), re.MULTILINE)
    assert found
    assert found["version"] == VERSIONS["project"]["version"]


def test_readme_names_what_the_wheel_carries() -> None:
    readme = (ROOT / "README.md").read_text()
    for name, component in VERSIONS["components"].items():
        assert re.search(rf"\| {name}\b.*\| {re.escape(component['version'])} \|", readme, re.IGNORECASE), name


def versions_named(text: str) -> list[tuple[str, str]]:
    """Every "NAME 1.2.3", "NAME v1.2.3", "NAME >= 1.2.3" or table row "| NAME … | 1.2.3 |" of a known name."""
    names = "|".join(NAMES_IN_DOCUMENTS)
    beside = re.findall(rf"\b({names})(?: >=)? v?(\d+\.\d+\.\d+)\b", text)
    rows = re.findall(rf"^\| ({names})\b[^|]*\| v?(\d+\.\d+\.\d+) \|", text, re.MULTILINE)
    return [*beside, *rows]


def test_documents_name_no_other_version() -> None:
    wrong = [
        f"{document.relative_to(ROOT)}: {name} {version}, decided is {NAMES_IN_DOCUMENTS[name]}"
        for document in DOCUMENTS
        for name, version in versions_named(document.read_text())
        if version != NAMES_IN_DOCUMENTS[name]
    ]
    assert not wrong


def test_versions_in_documents_are_found() -> None:
    text = "Kubernetes 1.2.3 and containerd v4.5.6, Go >= 1.9.9.\n| runc (static) | 7.8.9 |\n"
    assert versions_named(text) == [
        ("Kubernetes", "1.2.3"),
        ("containerd", "4.5.6"),
        ("Go", "1.9.9"),
        ("runc", "7.8.9"),
    ]
