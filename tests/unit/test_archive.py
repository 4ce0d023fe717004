"""Image archives as docker, skopeo and buildah write them, and all that is none."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import socket
import tarfile
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from kins.errors import UsageError
from kins.images.archive import ArchiveContents, inspect

Files = Mapping[str, bytes]
# Large and not compressible, as layers are: cuts fall into it.
LAYER = b"".join(sha256(bytes([number])).digest() for number in range(256)) * 8


def encoded(document: Any) -> bytes:
    return json.dumps(document).encode()


def docker_files(*names: str) -> Files:
    """`docker save` up to version 24: the index comes last."""
    return {
        "0123/layer.tar": LAYER,
        "config.json": encoded({"architecture": "amd64", "os": "linux"}),
        "manifest.json": encoded(
            [{"Config": "config.json", "RepoTags": list(names) or None, "Layers": ["0123/layer.tar"]}]
        ),
    }


def layout_files(*annotations: Mapping[str, str] | None) -> Files:
    """An OCI image layout with one manifest for each of the annotations."""
    digest = sha256(LAYER).hexdigest()
    manifests = []
    for each in annotations:
        manifest = {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": f"sha256:{digest}", "size": 1}
        manifests.append(manifest | ({"annotations": dict(each)} if each is not None else {}))
    return {
        "oci-layout": encoded({"imageLayoutVersion": "1.0.0"}),
        f"blobs/sha256/{digest}": LAYER,
        "index.json": encoded({"schemaVersion": 2, "manifests": manifests}),
    }


def pack(files: Files, prefix: str = "") -> bytes:
    """A tar archive with these files in their order."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(prefix + name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return content.getvalue()


def unpack(files: Files, directory: Path) -> Path:
    """A directory with these files."""
    for name, data in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes(data)
    return directory


def as_tar(files: Files, place: Path) -> Path:
    (place / "image.tar").write_bytes(pack(files))
    return place / "image.tar"


def as_tar_of_a_directory(files: Files, place: Path) -> Path:
    (place / "image.tar").write_bytes(pack(files, prefix="./"))
    return place / "image.tar"


def as_gzip(files: Files, place: Path) -> Path:
    # The ending says nothing: docker load does not look at it either.
    (place / "image.tar").write_bytes(gzip.compress(pack(files)))
    return place / "image.tar"


def as_directory(files: Files, place: Path) -> Path:
    return unpack(files, place / "image")


def refusal(path: Path) -> UsageError:
    """The error that a path gives; it must name the path and say what to do."""
    with pytest.raises(UsageError) as caught:
        inspect(path)
    assert str(path) in caught.value.message
    assert caught.value.hint
    return caught.value


FORMS = [as_tar, as_tar_of_a_directory, as_gzip, as_directory]


@pytest.mark.parametrize("form", FORMS)
def test_docker_archive(form: Callable[[Files, Path], Path], tmp_path: Path) -> None:
    path = form(docker_files("app:v1", "registry.example.org/app:v2"), tmp_path)
    assert inspect(path) == ArchiveContents(kind="docker-archive", names=("app:v1", "registry.example.org/app:v2"))


@pytest.mark.parametrize("form", FORMS)
def test_layout(form: Callable[[Files, Path], Path], tmp_path: Path) -> None:
    files = layout_files(
        {"org.opencontainers.image.ref.name": "v1"}, {"io.containerd.image.name": "example.org/app:v2"}
    )
    assert inspect(form(files, tmp_path)) == ArchiveContents(kind="oci-layout", names=("v1", "example.org/app:v2"))


def test_the_whole_name_goes_before_the_tag(tmp_path: Path) -> None:
    both = {"org.opencontainers.image.ref.name": "v1", "io.containerd.image.name": "docker.io/library/app:v1"}
    assert inspect(as_tar(layout_files(both), tmp_path)).names == ("docker.io/library/app:v1",)


def test_archive_that_is_both(tmp_path: Path) -> None:
    # `docker save` since version 25.
    files = {**layout_files({"org.opencontainers.image.ref.name": "v1"}), **docker_files("app:v1")}
    assert inspect(as_tar(files, tmp_path)) == ArchiveContents(kind="docker-archive", names=("app:v1",))


def test_several_images(tmp_path: Path) -> None:
    files = {"manifest.json": encoded([{"RepoTags": ["a:1"]}, {"RepoTags": None}, {"RepoTags": ["b:1", "b:2"]}])}
    assert inspect(as_tar(files, tmp_path)).names == ("a:1", "b:1", "b:2")


@pytest.mark.parametrize(
    "files",
    [docker_files(), layout_files(None), layout_files({"x": "y"}), layout_files()],
    ids=["docker", "bare", "annotated", "none"],
)
def test_nameless(files: Files, tmp_path: Path) -> None:
    assert refusal(as_tar(files, tmp_path)).code == "image-nameless"


def test_missing(tmp_path: Path) -> None:
    error = refusal(tmp_path / "none.tar")
    assert (error.code, error.hint) == ("image-not-found", f"ls -l {tmp_path}")


@pytest.mark.parametrize("cut", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("files", [docker_files("app:v1"), layout_files({"x": "y"})], ids=["docker", "layout"])
def test_cut_off(files: Files, cut: float, tmp_path: Path) -> None:
    content = pack({name: data for name, data in files.items() if len(data) > 1000})
    path = tmp_path / "image.tar"
    path.write_bytes(content[: int(len(LAYER) * cut)])
    assert refusal(path).code == "image-truncated"


def test_cut_off_behind_the_index(tmp_path: Path) -> None:
    files = docker_files("app:v1")
    content = pack(dict(reversed(list(files.items()))))
    path = tmp_path / "image.tar"
    path.write_bytes(content[: len(content) // 2])
    assert refusal(path).code == "image-truncated"


@pytest.mark.parametrize("remaining", [2, 9, 100, 4000])
def test_cut_off_gzip(remaining: int, tmp_path: Path) -> None:
    content = gzip.compress(pack(docker_files("app:v1")))
    path = tmp_path / "image.tar.gz"
    path.write_bytes(content[:remaining])
    assert refusal(path).code == "image-truncated"


def test_wherever_it_is_cut_off_an_archive_never_fails_otherwise(tmp_path: Path) -> None:
    content = pack({**layout_files({"x": "y"}), **docker_files("app:v1")})
    path = tmp_path / "image.tar"
    codes = set()
    # Around the borders of tar's blocks of 512 bytes.
    for cut in range(0, len(content) - 10240, 512):
        for end in (cut, cut + 1, cut + 511):
            path.write_bytes(content[:end])
            codes.add(refusal(path).code)
    assert codes <= {"image-truncated", "not-an-image", "image-nameless"}
    assert "image-truncated" in codes


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello",
        b"\x1f",
        bytes(10240),
        LAYER[:4096],
        gzip.compress(b"hello"),
        pack({"README": b"hello"}),
        pack({"sub/manifest.json": encoded([{"RepoTags": ["app:v1"]}])}),
        # The engine unpacks gzip only.
        bz2.compress(pack(docker_files("app:v1"))),
        lzma.compress(pack(docker_files("app:v1"))),
    ],
    ids=["empty", "text", "one-byte", "zeros", "noise", "gzip-text", "other-tar", "deeper", "bzip2", "xz"],
)
def test_what_is_no_image(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "image.tar"
    path.write_bytes(content)
    assert refusal(path).code == "not-an-image"


@pytest.mark.parametrize(
    "index", [b"", b"hello", b"\xff", b"{}", b"[1]", b'[{"RepoTags": "app:v1"}]', b'[{"RepoTags": [1]}]']
)
def test_manifest_that_is_none(index: bytes, tmp_path: Path) -> None:
    assert refusal(as_tar({"manifest.json": index}, tmp_path)).code == "not-an-image"


@pytest.mark.parametrize(
    "index", [b"[]", b"1", b'{"manifests": {}}', b'{"manifests": [1]}', b'{"manifests": [{"annotations": [1]}]}']
)
def test_layout_index_that_is_none(index: bytes, tmp_path: Path) -> None:
    assert refusal(as_tar({"index.json": index}, tmp_path)).code == "not-an-image"


def test_damaged_gzip(tmp_path: Path) -> None:
    path = tmp_path / "image.tar.gz"
    content = bytearray(gzip.compress(pack(docker_files("app:v1"))))
    content[20:40] = bytes(20)
    path.write_bytes(content)
    assert refusal(path).code in ("image-truncated", "not-an-image")


def test_an_index_that_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").mkdir()
    assert refusal(tmp_path).code == "not-an-image"
    with tarfile.open(tmp_path / "link.tar", "w") as archive:
        link = tarfile.TarInfo("manifest.json")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    assert refusal(tmp_path / "link.tar").code == "not-an-image"


def test_what_cannot_be_read(tmp_path: Path) -> None:
    # A socket, because root can read every regular file.
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        assert refusal(path).code == "image-unreadable"
