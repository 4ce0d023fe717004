"""A look into docker archives (`docker save`) and OCI image layouts (image-spec, image-layout.md), packed or not."""

from __future__ import annotations

import gzip
import json
import tarfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from kins.errors import UsageError

MAXIMUM_INDEX = 8 * 1024 * 1024
NAME_ANNOTATIONS = ("io.containerd.image.name", "org.opencontainers.image.ref.name")
Kind = Literal["docker-archive", "oci-layout"]


class ArchiveContents(msgspec.Struct, frozen=True, kw_only=True):
    """The images of an archive by the names that it gives them; an OCI layout's may be a tag only."""

    kind: Kind
    names: tuple[str, ...]


def inspect(path: Path) -> ArchiveContents:
    """What is in an archive. Raises UsageError: `image-not-found`, `not-an-image`, `image-truncated`, `image-nameless`.

    Only the index is read; a layer that is cut off shows when the archive is loaded.
    """
    if not path.exists():
        raise UsageError(f"{path}: no such file or directory", code="image-not-found", hint=f"ls -l {path.parent}")
    indexes = _from_directory(path) if path.is_dir() else _from_tar(path)
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
        with tarfile.open(path, "r:*") as archive:
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


def _truncated(path: Path, error: Exception) -> UsageError:
    return UsageError(f"{path} is cut off: {error}", code="image-truncated", hint="save or copy the archive again")


def _docker_names(path: Path, content: bytes) -> list[str]:
    return [name for image in _json(path, content, list) for name in image.get("RepoTags") or ()]


def _layout_names(path: Path, content: bytes) -> list[str]:
    found = []
    for manifest in _json(path, content, dict).get("manifests") or ():
        annotations = manifest.get("annotations") or {}
        found += [annotations[key] for key in NAME_ANNOTATIONS if key in annotations][:1]
    return found


def _json(path: Path, content: bytes, kind: type) -> Any:
    try:
        document = json.loads(content)
    except ValueError as error:
        raise UsageError(f"{path} is no image: its index is no JSON: {error}", code="not-an-image") from error
    if not isinstance(document, kind):
        raise UsageError(f"{path} is no image: its index has an unknown form", code="not-an-image")
    return document
