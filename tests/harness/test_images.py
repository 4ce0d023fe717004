"""Layers and archives of trees that are made here, without packages."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tarfile
from pathlib import Path

import pytest
from tests.harness.images import Image, add_files, layer, write_archive


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A little of everything that a layer can hold, and something that is left out."""
    tree = tmp_path / "tree"
    for directory in ("etc", "proc/1", "usr/bin", "usr/share/doc/bash"):
        (tree / directory).mkdir(parents=True)
    (tree / "usr/bin/bash").write_text("bash")
    (tree / "usr/bin/bash").chmod(0o755)
    (tree / "usr/bin/rbash").hardlink_to(tree / "usr/bin/bash")
    (tree / "bin").symlink_to("usr/bin")
    (tree / "etc/shadow").write_text("today")
    (tree / "etc/passwd").write_text("root")
    return tree


def names(content: bytes) -> list[str]:
    """The names in a tar archive, in order."""
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        return archive.getnames()


def test_a_layer_holds_what_belongs_in_an_image(tree: Path) -> None:
    expected = ["bin", "etc", "proc", "usr", "etc/passwd", "usr/bin", "usr/share", "usr/bin/bash", "usr/bin/rbash"]
    assert names(layer(tree)) == expected


def test_a_layer_can_be_unpacked(tree: Path, tmp_path: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(layer(tree))) as archive:
        archive.extractall(tmp_path / "unpacked", filter="tar")
    assert (tmp_path / "unpacked/bin/rbash").read_text() == "bash"
    assert (tmp_path / "unpacked/usr/bin/bash").stat().st_mode & 0o777 == 0o755


def test_a_copy_gives_the_same_bytes(tree: Path, tmp_path: Path) -> None:
    shutil.copytree(tree, tmp_path / "copy", symlinks=True, copy_function=shutil.copy)
    (tmp_path / "copy/usr/bin/rbash").unlink()
    (tmp_path / "copy/usr/bin/rbash").hardlink_to(tmp_path / "copy/usr/bin/bash")
    assert layer(tmp_path / "copy") == layer(tree)


def test_a_second_layer_holds_what_is_new_or_changed(tree: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(tree, copy, symlinks=True)
    (copy / "etc/passwd").write_text("root and redis")
    add_files(Image("test/new:1", (), files={"var/www/index.html": "hello"}, directory="/data"), copy)
    assert names(layer(copy, tree)) == ["data", "var", "etc/passwd", "var/www", "var/www/index.html"]


def test_an_archive_names_its_image_and_layers(tree: Path, tmp_path: Path) -> None:
    image = Image("test/new:1", ("bash",), directory="/data")
    layers = [layer(tree), layer(tree / "usr")]
    with (tmp_path / "new.tar").open("wb") as file:
        write_archive(image, layers, file)
    with tarfile.open(tmp_path / "new.tar") as archive:
        content = {entry.name: archive.extractfile(entry) for entry in archive}
        read = {name: file.read() for name, file in content.items() if file is not None}
    (manifest,) = json.loads(read["manifest.json"])
    configuration = json.loads(read[manifest["Config"]])
    assert manifest["RepoTags"] == ["test/new:1"]
    assert [read[name] for name in manifest["Layers"]] == layers
    assert configuration["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(part).hexdigest()}" for part in layers]
    assert (configuration["config"]["Cmd"], configuration["config"]["WorkingDir"]) == (["bash"], "/data")


def test_an_archive_is_called_like_its_image() -> None:
    assert Image("kins-test/nginx:1", ()).archive.name == "nginx.tar"
