"""The public face of a cluster."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kins.cluster import store
from kins.cluster.spec import ClusterSpec, Record
from kins.components.layout import ENGINE
from kins.errors import KinsError

if TYPE_CHECKING:
    from kins.cluster.building import BuildRequest
    from kins.cluster.creation import Created
    from kins.cluster.deletion import Deleted
    from kins.cluster.dry_run import Planned
    from kins.cluster.events import Event
    from kins.cluster.node_images import ListedImage, LoadedImage, NodeImages, RemovedImage
    from kins.cluster.status import Status
    from kins.cluster.stopping import Stopped

DEFAULT_TIMEOUT = 120.0


def _ignore(_: Event) -> None:
    """For callers that want no progress."""


class Cluster:
    """A cluster by its name, which need not exist yet.

    Each method imports what it needs: `kins status` and `kins kubectl` must not wait for certificates and YAML.
    """

    def __init__(self, name: str = "default") -> None:
        self.name = name

    @classmethod
    def names(cls) -> list[str]:
        """All clusters of this user, crashed ones included."""
        return store.names()

    @classmethod
    def up(
        cls,
        spec: ClusterSpec | str = "default",
        *,
        timeout: float = DEFAULT_TIMEOUT,
        wait: bool = True,
        retain: bool = False,
        progress: Callable[[Event], None] = _ignore,
        began: float | None = None,
    ) -> tuple[Cluster, Created]:
        """Bring a cluster up, or find that it runs.

        `timeout` in seconds; `began` is the monotonic clock from which times are counted (now, when not given). Raises
        KinsError, and leaves nothing behind then unless `retain`.
        """
        from kins.cluster.creation import Creation

        wanted = ClusterSpec(name=spec) if isinstance(spec, str) else spec
        began = time.monotonic() if began is None else began
        creation = Creation(wanted, began=began, timeout=timeout, wait=wait, retain=retain, progress=progress)
        return cls(wanted.name), creation.run()

    @classmethod
    def plan(cls, spec: ClusterSpec | str = "default") -> Planned:
        """What `up` would do in this sandbox; nothing is changed. Raises KinsError for what `up` would refuse, and
        `already-running`."""
        from kins.cluster.dry_run import dry_run

        return dry_run(ClusterSpec(name=spec) if isinstance(spec, str) else spec)

    def start(
        self,
        *,
        timeout: float = DEFAULT_TIMEOUT,
        wait: bool = True,
        progress: Callable[[Event], None] = _ignore,
        began: float | None = None,
    ) -> Created:
        """Bring a cluster up that was stopped or has crashed, as it was made. Raises KinsError, such as
        `no-such-cluster`; its data stays in any case."""
        self._record()
        _, created = self.up(self.name, timeout=timeout, wait=wait, progress=progress, began=began)
        return created

    def stop(self) -> Stopped:
        """End it in an orderly way and keep its data. Raises KinsError `no-such-cluster`."""
        from kins.cluster.stopping import stop

        return stop(self.name)

    def down(self) -> Deleted:
        """Remove it completely. Raises KinsError `no-such-cluster`."""
        from kins.cluster.deletion import delete

        return delete(self.name)

    def status(self) -> Status:
        """How it is now. Raises KinsError `no-such-cluster`."""
        from kins.cluster.status import status

        return status(self.name)

    def summary(self) -> dict[str, str | None]:
        """Its name, state and level."""
        from kins.cluster.status import summary

        return summary(self.name)

    @property
    def kubeconfig(self) -> Path:
        """A kubeconfig with this cluster only. Raises KinsError when there is no such cluster."""
        path = store.existing(self.name).kubeconfig
        if not path.exists():
            raise KinsError(f"cluster {self.name!r} is not running", code="not-running", hint=f"kins up {self.name}")
        return path

    def merge_kubeconfig(self) -> Path:
        """Write it into the user's kubeconfig and make it current; returns the file."""
        from kins import kubeconfig
        from kins.cluster.preparation import administrator_entry

        files = store.existing(self.name)
        return kubeconfig.merge(administrator_entry(files, self._record().settings))

    def remove_kubeconfig(self) -> list[Path]:
        """Take it out of the user's kubeconfig; returns the files that changed."""
        from kins import kubeconfig

        return kubeconfig.remove(f"kins-{self.name}")

    def logs(self) -> dict[str, Path]:
        """The log files by component, the supervisor's included."""
        directory = store.existing(self.name).logs
        return {path.stem: path for path in sorted(directory.glob("*.log"))}

    def load_images(self, sources: Sequence[Path | str]) -> Iterator[LoadedImage]:
        """Load archives, `-` for standard input, or images of a running Docker or Podman by their names into the node's
        store. Raises KinsError before anything is touched when one is unfit."""
        return self._images().load([str(source) for source in sources])

    def pull_images(self, names: Sequence[str]) -> Iterator[LoadedImage]:
        """Pull images into the node's store, with the user's own credentials."""
        return self._images().pull(names)

    def images(self) -> list[ListedImage]:
        """The images that pods can use."""
        return self._images().listed()

    def remove_images(self, names: Sequence[str]) -> list[RemovedImage]:
        """Take names of images away, and images with their last name."""
        return self._images().remove(names)

    def save_images(self, names: Sequence[str], target: Path | None) -> None:
        """Write images as an archive to a file, or to standard output."""
        self._images().save(names, target)

    def build_image(self, request: BuildRequest) -> list[ListedImage]:
        """Build an image from a Dockerfile into the node's store; progress goes to standard error."""
        from kins.cluster.building import build

        return build(store.existing(self.name), self._record(), request)

    def _images(self) -> NodeImages:
        from kins.cluster.node_images import NodeImages

        return NodeImages(store.existing(self.name), self._record())

    def kubectl(self, arguments: Sequence[str]) -> tuple[Path, list[str], dict[str, str]]:
        """Program, arguments and environment of kubectl for this cluster."""
        # Its discovery cache goes with the cluster: the next one on this port may serve other APIs.
        cache = store.existing(self.name).kubectl_cache
        environment = dict(os.environ, KUBECONFIG=str(self.kubeconfig), KUBECACHEDIR=str(cache))
        return ENGINE, ["kubectl", *arguments], environment

    def _record(self) -> Record:
        record = store.record(store.existing(self.name))
        if record is None:
            raise KinsError(
                f"cluster {self.name!r} was not completely made", code="not-running", hint=f"kins up {self.name}"
            )
        return record
