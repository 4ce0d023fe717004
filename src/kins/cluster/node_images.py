"""The images of a node: into its containerd, out of it, and away. The engine's applet `images` does it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, TypeVar

import msgspec

from kins.cluster import kept_archives, store
from kins.cluster.spec import Record
from kins.components import Layout
from kins.components.environment import component_environment
from kins.components.layout import ENGINE
from kins.errors import KinsError, UsageError
from kins.images import archive, container_engines, credentials, references

# Far more than containerd's own patience with a pull that does not move, five minutes.
ACTION_SECONDS = 3600.0
STANDARD_INPUT = "-"
# The exit code of the applet for a name that no image has (engine/internal/images/command.go).
ABSENT = 3
# Makes the error of an action out of the applet's reason.
Refusal = Callable[[str], KinsError]
Line = TypeVar("Line", bound=msgspec.Struct)


class LoadedImage(msgspec.Struct, frozen=True, kw_only=True):
    """An image that the node has now; `size` in bytes of its compressed content."""

    name: str
    digest: str
    size: int


class ListedImage(msgspec.Struct, frozen=True, kw_only=True):
    """An image as pods can name it. `id` is the digest of its configuration, `size` in bytes of its compressed content;
    a pinned one belongs to the node."""

    id: str
    names: tuple[str, ...]
    digests: tuple[str, ...]
    size: int
    pinned: bool


class RemovedImage(msgspec.Struct, frozen=True, kw_only=True):
    """A name that is gone; `deleted` says whether its image, having no other, went with it."""

    name: str
    id: str
    deleted: bool


class NodeImages:
    """The store of a running node. Raises KinsError `no-node` or `not-running` when there is none."""

    def __init__(self, files: Layout, record: Record) -> None:
        name = record.spec.name
        if record.decisions.level != "node":
            raise KinsError(
                f"cluster {name!r} has no real node, and so no images: its level is {record.decisions.level}",
                code="no-node",
                hint="kins up OTHER --level node",
            )
        if store.supervisor(files) is None:
            raise KinsError(f"cluster {name!r} is not running", code="not-running", hint=f"kins up {name}")
        self._files = files
        self._record = record

    def load(self, sources: Sequence[str]) -> Iterator[LoadedImage]:
        """Load archives, `-` for the one on standard input, or images of a container engine by their names, one after
        another; all are looked at before the first is loaded."""
        with tempfile.TemporaryDirectory(prefix="load-", dir=self._files.temporary) as directory:
            archives = [_found(source, Path(directory) / str(order)) for order, source in enumerate(sources)]
            for path in archives:
                yield from self._load(path)

    def _load(self, path: Path) -> list[LoadedImage]:
        arguments = ("load", "--snapshotter", self._record.decisions.snapshotter, str(path.absolute()))
        loaded = self._lines(
            LoadedImage,
            lambda reason: KinsError(
                f"{path} could not be loaded: {reason}", code="image-load-failed", hint=self._logs
            ),
            *arguments,
        )
        if self._record.decisions.images_on == "tmpfs":
            kept_archives.keep(self._files, path, [image.name for image in loaded])
        return loaded

    def pull(self, names: Sequence[str]) -> Iterator[LoadedImage]:
        """Pull images from their registries as the kubelet would, with the user's own credentials."""
        for name in names:
            if not references.is_name(name):
                hint = "kins image pull app:1"
                raise UsageError(f"{name!r} is no image's name", code="invalid-image-name", hint=hint)
        for name in names:
            yield from self._pull(name)

    def _pull(self, name: str) -> list[LoadedImage]:
        return self._lines(
            LoadedImage,
            lambda reason: KinsError(
                f"{name} could not be pulled: {reason}", code="image-pull-failed", hint=self._logs
            ),
            "pull",
            name,
            text=msgspec.json.encode(credentials.credentials(name)).decode(),
        )

    def listed(self) -> list[ListedImage]:
        """All images, in the order of their names."""
        return self._lines(
            ListedImage,
            lambda reason: KinsError(
                f"images could not be listed: {reason}", code="image-list-failed", hint=self._logs
            ),
            "list",
        )

    def remove(self, names: Sequence[str]) -> list[RemovedImage]:
        """Take names away, and images with their last one. Nothing is removed when one of them is not there."""
        known = {
            name for image in self.listed() if {image.id, *image.names}.intersection(names) for name in image.names
        }
        removed = self._lines(
            RemovedImage,
            lambda reason: KinsError(f"nothing was removed: {reason}", code="image-remove-failed", hint=self._logs),
            "remove",
            *names,
        )
        kept_archives.forget(self._files, known - {name for image in self.listed() for name in image.names})
        return removed

    def save(self, names: Sequence[str], target: Path | None) -> None:
        """Write images as one archive to a file, which appears whole or not at all, or to standard output."""
        if target is None:
            self._save(names, sys.stdout.buffer)
            return
        with archive.written_whole(target) as new, open(new, "wb") as file:
            self._save(names, file)

    def _save(self, names: Sequence[str], output: IO[bytes]) -> None:
        self._run(
            lambda reason: KinsError(f"nothing was saved: {reason}", code="image-save-failed", hint=self._logs),
            "save",
            *names,
            output=output,
        )

    def _lines(self, kind: type[Line], refused: Refusal, *arguments: str, text: str = "") -> list[Line]:
        answer = self._run(refused, *arguments, text=text)
        return [msgspec.convert(json.loads(line), kind) for line in answer.splitlines()]

    def _run(
        self, refused: Refusal, command: str, *arguments: str, text: str = "", output: IO[bytes] | None = None
    ) -> str:
        """Run the applet; returns what it says, unless that goes to `output`. Raises the error that `refused` makes of
        its reason, or KinsError `no-such-image`."""
        argv = [str(ENGINE), "images", command, "--address", str(self._files.containerd_socket), *arguments]
        done = subprocess.run(
            argv,
            env=component_environment(self._files.directory),
            input=text.encode(),
            stdout=output or subprocess.PIPE,
            stderr=subprocess.PIPE,
            timeout=ACTION_SECONDS,
            check=False,
        )
        if done.returncode == 0:
            return (done.stdout or b"").decode()
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        reason = lines[-1].removeprefix("error: ") if lines else "no reason given"
        if done.returncode == ABSENT:
            raise KinsError(reason, code="no-such-image", hint=self._command("kins image list"))
        raise refused(reason)

    @property
    def _logs(self) -> str:
        return self._command("kins logs containerd")

    def _command(self, text: str) -> str:
        """A command line for this cluster."""
        name = self._record.spec.name
        return text if name == "default" else f"{text} --name {name}"


def _found(source: str, place: Path) -> Path:
    """An archive that was looked at; what is none yet is written below `place` first."""
    if source == STANDARD_INPUT:
        path = _from_standard_input(place)
    elif not Path(source).exists() and references.is_name(source):
        path = _from_engine(source, place)
    else:
        path = Path(source)
    found = archive.inspect(path)
    if source == STANDARD_INPUT:
        _refuse_tags_alone(found)
    return path


def _from_standard_input(place: Path) -> Path:
    place.mkdir()
    path = place / "standard-input.tar"
    with open(path, "wb") as file:
        shutil.copyfileobj(sys.stdin.buffer, file, 1 << 20)
    return path


def _refuse_tags_alone(found: archive.ArchiveContents) -> None:
    """The name of a file completes the tags of an OCI layout; standard input has none."""
    if found.kind == "oci-layout" and any(references.is_tag(name) for name in found.names):
        raise UsageError(
            "the OCI layout on standard input has tags without names, and no file name that could complete them",
            code="image-nameless",
            hint="write it to NAME.tar and load that",
        )


def _from_engine(name: str, place: Path) -> Path:
    place.mkdir()
    path = place / "image.tar"
    if not container_engines.save(name, path):
        engines = ", ".join(map(str, container_engines.sockets())) or "none runs here"
        raise UsageError(
            f"{name} is no file, and no Docker or Podman has an image of that name ({engines})",
            code="image-not-found",
            hint=f"docker pull {name}, or kins image pull {name}",
        )
    return path
