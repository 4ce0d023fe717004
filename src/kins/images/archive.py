"""A look into docker archives (`docker save`) and OCI image layouts (image-spec, image-layout.md), packed or not."""

from __future__ import annotations

import contextlib
import gzip
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from kins.errors import UsageError

MAXIMUM_INDEX = 8 * 1024 * 1024
NAME_ANNOTATIONS = ("io.containerd.image.name", "org.opencontainers.image.ref.name")
Kind = Literal["docker-archive", "oci-layout"]
Data = TypeVar("Data")


class ArchiveContents(msgspec.Struct, frozen=True, kw_only=True):
    """The images of an archive by the names that it gives them; an OCI layout's may be a tag only."""

    kind: Kind
    names: tuple[str, ...]


class _DockerImage(msgspec.Struct):
    """An entry of manifest.json."""

    names: list[str] | None = msgspec.field(default=None, name="RepoTags")


class _Manifest(msgspec.Struct):
    annotations: dict[str, str] | None = None


class _LayoutIndex(msgspec.Struct):
    """index.json."""

    manifests: list[_Manifest] | None = None


@contextlib.contextmanager
def written_whole(target: Path) -> Iterator[Path]:
    """A place to write an archive to, which appears at `target` at the end of the block, whole or not at all."""
    new = target.with_name(f".{target.name}.new")
    try:
        yield new
        new.replace(target)
    finally:
        new.unlink(missing_ok=True)


def inspect(path: Path) -> ArchiveContents:
    """What is in an archive. Raises UsageError: `image-not-found`, `image-unreadable`, `not-an-image`,
    `image-truncated`, `image-nameless`.

    Only the index is read; a layer that is cut off shows when the archive is loaded.
    """
    if not path.exists():
        raise UsageError(f"{path}: no such file or directory", code="image-not-found", hint=f"ls -l {path.parent}")
    try:
        indexes = _from_directory(path) if path.is_dir() else _from_tar(path)
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read: {error.strerror or error}", code="image-unreadable", hint=f"ls -l {path}"
        ) from error
    if "manifest.json" in indexes:
        # `docker save` since 25 writes both; the docker one holds the whole names.
        return _contents(path, "docker-archive", _docker_names(path, indexes["manifest.json"]))
    if "index.json" in indexes:
        return _contents(path, "oci-layout", _layout_names(path, indexes["index.json"]))
    raise UsageError(
        f"{path} is no image: it has neither manifest.json nor index.json",
        code="not-an-image",
        hint="docker save -o app.tar app",
    )


def _contents(path: Path, kind: Kind, names: list[str]) -> ArchiveContents:
    if not names:
        raise UsageError(
            f"{path} holds no image with a name",
            code="image-nameless",
            hint="docker save -o app.tar NAME:TAG (not an image's ID)",
        )
    return ArchiveContents(kind=kind, names=tuple(names))


def _from_directory(path: Path) -> Mapping[str, bytes]:
    return {name: (path / name).read_bytes() for name in ("manifest.json", "index.json") if (path / name).is_file()}


def _from_tar(path: Path) -> Mapping[str, bytes]:
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(path, "r:gz" if _is_gzip(path) else "r:") as archive:
            for member in archive:
                name = member.name.removeprefix("./")
                if name in ("manifest.json", "index.json") and member.isfile() and member.size <= MAXIMUM_INDEX:
                    content = archive.extractfile(member)
                    assert content is not None, "a regular file has content"
                    found[name] = content.read()
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise _truncated(path, error) from error
    except tarfile.ReadError as error:
        if found or "unexpected end" in str(error):
            raise _truncated(path, error) from error
        raise UsageError(
            f"{path} is no image: {error}", code="not-an-image", hint="docker save -o app.tar app, or an OCI layout"
        ) from error
    return found


def _is_gzip(path: Path) -> bool:
    """The one compression that the engine's loader takes as well as Python."""
    with open(path, "rb") as file:
        return file.read(2) == b"\x1f\x8b"


def _truncated(path: Path, error: Exception) -> UsageError:
    return UsageError(f"{path} is cut off: {error}", code="image-truncated", hint="save or copy the archive again")


def _docker_names(path: Path, content: bytes) -> list[str]:
    return [name for image in _decode(path, content, list[_DockerImage]) for name in image.names or ()]


def _layout_names(path: Path, content: bytes) -> list[str]:
    found = []
    for manifest in _decode(path, content, _LayoutIndex).manifests or ():
        annotations = manifest.annotations or {}
        found += [annotations[key] for key in NAME_ANNOTATIONS if key in annotations][:1]
    return found


def _decode(path: Path, content: bytes, kind: type[Data]) -> Data:
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{path} is no image: its index cannot be read: {error}",
            code="not-an-image",
            hint="docker save -o app.tar app, or an OCI layout",
        ) from error
