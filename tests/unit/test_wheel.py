"""The wheel in dist/: what it is tagged for, what it weighs, and that its programs run anywhere."""

from __future__ import annotations

import json
import stat
import struct
import subprocess
import tarfile
import tomllib
import zipfile
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
VERSIONS: dict[str, Any] = tomllib.loads((ROOT / "versions.toml").read_text())
PROGRAMS = [
    "containerd",
    "containerd-shim-runc-v2",
    "coredns",
    "kins-cni",
    "kins-egress",
    "kins-engine",
    "kins-intercept",
    "runc",
]
SIZE_LIMIT = 100_000_000
PROGRAM_HEADER_INTERPRETER = 3  # PT_INTERP in elf(5): the path of a dynamic loader


@pytest.fixture(scope="module")
def wheel() -> Path:
    """The one wheel that `make wheel` leaves."""
    found = list((ROOT / "dist").glob("kins-*.whl"))
    assert len(found) == 1, f"make wheel first; in dist/: {found}"
    return found[0]


@pytest.fixture(scope="module")
def unpacked(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's _bin directory, with the modes that pip gives its files."""
    directory = tmp_path_factory.mktemp("wheel")
    with zipfile.ZipFile(wheel) as archive:
        for entry in archive.infolist():
            archive.extract(entry, directory)
            if entry.external_attr >> 16 & stat.S_IXUSR:
                (directory / entry.filename).chmod(0o755)
    return directory / "kins" / "_bin"


def has_interpreter(program: Path) -> bool:
    """Whether a 64-bit little-endian ELF file asks for a dynamic loader. Layout: elf(5)."""
    content = program.read_bytes()
    assert content[:6] == b"\x7fELF\x02\x01"
    (start,) = struct.unpack_from("<Q", content, 32)
    size, count = struct.unpack_from("<HH", content, 54)
    kinds = [struct.unpack_from("<I", content, start + index * size)[0] for index in range(count)]
    assert kinds
    return PROGRAM_HEADER_INTERPRETER in kinds


def output(*command: str | Path) -> str:
    """What a program prints with no environment at all."""
    return subprocess.run(command, env={}, capture_output=True, text=True, check=True).stdout


def test_name_and_tags(wheel: Path) -> None:
    project, version, python, abi, platforms = wheel.stem.split("-")
    assert (project, version, python, abi) == ("kins", VERSIONS["project"]["version"], "py3", "none")
    assert [tag.split("_")[0] for tag in platforms.split(".")] == ["manylinux", "musllinux"]


def test_size(wheel: Path) -> None:
    assert wheel.stat().st_size < SIZE_LIMIT


def test_holds_exactly_what_was_meant(unpacked: Path) -> None:
    assert sorted(path.name for path in unpacked.iterdir()) == sorted([*PROGRAMS, "pause.tar", "versions.json"])


@pytest.mark.parametrize("program", PROGRAMS)
def test_programs_are_static(unpacked: Path, program: str) -> None:
    assert not has_interpreter(unpacked / program)


def test_a_dynamic_program_is_recognised() -> None:
    assert has_interpreter(Path("/bin/sh").resolve())


def test_containerd_runs_and_knows_its_version(unpacked: Path) -> None:
    assert (
        output(unpacked / "containerd", "--version").split()[2] == f"v{VERSIONS['components']['containerd']['version']}"
    )


def test_runc_has_seccomp(unpacked: Path) -> None:
    lines = dict(line.split(": ", 1) for line in output(unpacked / "runc", "--version").splitlines()[1:])
    assert "libseccomp" in lines


def test_kubernetes_version_is_linked_in(unpacked: Path) -> None:
    answer = json.loads(output(unpacked / "kins-engine", "kubectl", "version", "--client", "--output=json"))
    assert answer["clientVersion"]["gitVersion"] == f"v{VERSIONS['components']['kubernetes']['version']}"
    assert answer["clientVersion"]["buildDate"] == VERSIONS["components"]["kubernetes"]["released"]


def test_versions_file(unpacked: Path) -> None:
    shipped = json.loads((unpacked / "versions.json").read_text())
    assert shipped["kins"] == VERSIONS["project"]["version"]
    assert {name: shipped[name] for name in VERSIONS["components"]} == {
        name: component["version"] for name, component in VERSIONS["components"].items()
    }


def test_pause_image_is_a_valid_docker_archive(unpacked: Path, tmp_path: Path) -> None:
    with tarfile.open(unpacked / "pause.tar") as archive:
        archive.extractall(tmp_path, filter="data")
    (manifest,) = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["RepoTags"] == [json.loads((unpacked / "versions.json").read_text())["pause-image"]]
    configuration = json.loads((tmp_path / manifest["Config"]).read_text())
    layers = [f"sha256:{sha256((tmp_path / layer).read_bytes()).hexdigest()}" for layer in manifest["Layers"]]
    assert configuration["rootfs"]["diff_ids"] == layers
    with tarfile.open(tmp_path / manifest["Layers"][0]) as layer:
        layer.extract("pause", tmp_path, filter="fully_trusted")
    assert not has_interpreter(tmp_path / "pause")
    assert output(tmp_path / "pause", "-v") == f"pause.c v{VERSIONS['pause']['version']}\n"


def test_the_wheel_of_the_extra_for_builds(tmp_path: Path) -> None:
    """It is of the same version and for the same machines, and has BuildKit's programs, static ones."""
    (wheel,) = (ROOT / "dist").glob("kins_build-*.whl")
    (own,) = (ROOT / "dist").glob("kins-*.whl")
    assert wheel.name.replace("kins_build", "kins") == own.name
    assert wheel.stat().st_size < SIZE_LIMIT
    with zipfile.ZipFile(wheel) as archive:
        programs = [name for name in archive.namelist() if "/_bin/" in name]
        archive.extractall(tmp_path, programs)
    assert sorted(Path(name).name for name in programs) == ["buildctl", "buildkitd"]
    version = f"v{VERSIONS['builder']['buildkit']['version']}"
    for name in programs:
        assert not has_interpreter(tmp_path / name)
        (tmp_path / name).chmod(0o755)
        assert version in output(tmp_path / name, "--version").split()
