"""The directories that node software keeps its data and its state in, made fit for it and its own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from kins.components.kubelet import ROOT
from kins.plan import AnyStep
from kins.plan.files import MakeDirectory
from kins.plan.mounts import BindMount, MountFileSystem, SetPropagation
from kins.sandbox import Facts
from kins.sandbox.levels import image_store, image_store_size

# Images and what they are unpacked to: overlay must work there.
DATA = ("/var/lib/containerd", "/var/lib/docker", "/var/lib/k0s", "/var/lib/rancher")
# What says nothing when the software has ended.
STATE = (
    "/run/containerd",
    "/run/docker",
    "/run/flannel",
    "/run/k0s",
    "/run/k3s",
    "/run/mount",
    "/run/netns",
    "/var/lib/cni",
    "/var/log/containers",
    "/var/log/pods",
)


def place_steps(facts: Facts, own: Path, kept: Path | None, writable: Iterable[str]) -> Iterator[AnyStep]:
    """Mounts on all these directories and on `writable` ones: of memory, or of directories below `kept` (which exist,
    see `make_kept`), or below `own`, which goes with the environment.

    All but the kubelet's are private: in shared ones a runtime's own mounts cannot be unmounted in gVisor ("failed to
    unmount target …/tmpmounts").
    """
    for path in STATE:
        yield from _in_memory(path, "mode=0755", "state of node software")
    yield MakeDirectory(path=ROOT, because="kubelet")
    yield MountFileSystem(target=ROOT, kind="tmpfs", options="mode=0750", because="kubelet")
    yield SetPropagation(target=ROOT, mode="shared", because="mount propagation into containers (kubelet)")
    in_memory = kept is None and image_store(facts)[1] == "tmpfs"
    for path in (*DATA, *writable):
        if in_memory:
            yield from _in_memory(path, f"size={image_store_size(facts)},mode=0711", "overlay_on_data")
        else:
            yield from _on_disk(path, kept or own, kept=kept is not None)


def make_kept(kept: Path, writable: Iterable[str]) -> None:
    """Make the directories of the data that stays: it is the user's, so that nothing of it is undone. Raises
    OSError."""
    for path in (*DATA, *writable):
        _below(kept, path).mkdir(mode=0o711, parents=True, exist_ok=True)


def _below(directory: Path, path: str) -> Path:
    return directory / path.lstrip("/")


def _in_memory(path: str, options: str, because: str) -> Iterator[AnyStep]:
    yield MakeDirectory(path=path, because=because)
    yield MountFileSystem(target=path, kind="tmpfs", options=options, private=True, because=because)


def _on_disk(path: str, directory: Path, *, kept: bool) -> Iterator[AnyStep]:
    because = "--data" if kept else "data of node software"
    source = str(_below(directory, path))
    yield MakeDirectory(path=path, because=because)
    if not kept:
        yield MakeDirectory(path=source, because=because)
    yield BindMount(source=source, target=path, because=because)
