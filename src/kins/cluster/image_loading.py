"""Images into the node's containerd."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from kins.cluster import store
from kins.cluster.spec import Record
from kins.components import Layout
from kins.components.environment import component_environment
from kins.components.layout import ENGINE
from kins.errors import KinsError
from kins.images import archive

LOAD_SECONDS = 600.0


class LoadedImage(msgspec.Struct, frozen=True, kw_only=True):
    """An image that the node has now; `size` in bytes of its compressed content."""

    name: str
    digest: str
    size: int


def load(files: Layout, record: Record, archives: Sequence[Path]) -> Iterator[LoadedImage]:
    """Load archives one after another; all are looked at before the first is loaded."""
    if record.decisions.level != "node":
        raise KinsError(
            f"cluster {record.spec.name!r} has no node to load images into",
            code="no-node",
            hint="kins up without --control-plane-only",
        )
    if store.supervisor(files) is None:
        raise KinsError(
            f"cluster {record.spec.name!r} is not running", code="not-running", hint=f"kins up {record.spec.name}"
        )
    for path in archives:
        archive.inspect(path)
    for path in archives:
        yield from _load(files, record, path)


def _load(files: Layout, record: Record, path: Path) -> list[LoadedImage]:
    argv = [str(ENGINE), "images", "load", "--address", str(files.containerd_socket)]
    argv += ["--snapshotter", record.decisions.snapshotter, str(path.absolute())]
    done = subprocess.run(
        argv,
        env=component_environment(files.directory),
        capture_output=True,
        text=True,
        timeout=LOAD_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        reason = done.stderr.strip().splitlines()[-1:] or ["no reason given"]
        raise KinsError(
            f"{path} could not be loaded: {reason[0]}", code="image-load-failed", hint="kins logs containerd"
        )
    if record.decisions.images_on == "tmpfs":
        _keep(files, path)
    return [msgspec.convert(json.loads(line), LoadedImage) for line in done.stdout.splitlines()]


def _keep(files: Layout, path: Path) -> None:
    """Keep the archive: a store on tmpfs ends with the node's namespaces, and a recovered cluster loads its images
    again. Its own name is kept, which names the image of an OCI layout that has tags alone."""
    place = files.images / hashlib.sha256(str(path.absolute()).encode()).hexdigest()[:16]
    place.mkdir(mode=0o700, exist_ok=True)
    target = place / path.resolve().name
    if path.is_dir():
        shutil.copytree(path, target, dirs_exist_ok=True)
    else:
        new = place.with_suffix(".new")
        shutil.copyfile(path, new)
        new.replace(target)
