"""Images from Dockerfiles: BuildKit's daemon on demand, and its client for each build."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from kins.cluster import kept_archives
from kins.cluster.crossing import asking_registries
from kins.cluster.node_images import ListedImage, NodeImages
from kins.cluster.preparation import control_group_name
from kins.cluster.spec import Record
from kins.components import Layout
from kins.components.buildkitd import buildkitd, configuration, configuration_file, programs
from kins.errors import KinsError, UsageError
from kins.images import archive, references
from kins.sandbox import Facts
from kins.sandbox.levels import image_store_size
from kins.supervise import Supervisor, control

# The daemon's start takes a second; in a busy gVisor some.
START_SECONDS = 60.0
IDLE_SECONDS = 30.0
CHECK_SECONDS = 5.0
# How much of a store in memory the cache may take: a quarter.
CACHE_PART = 4


class BuildRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What is built from what.

    `tags` are names of the image; without any it is built and left in the cache. `output` is an archive to be written
    instead of an image in the node's store; `push` brings it to the registry of its name.
    """

    context: Path
    file: Path | None = None
    tags: tuple[str, ...] = ()
    arguments: Mapping[str, str] = {}
    target: str | None = None
    secrets: tuple[str, ...] = ()
    no_cache: bool = False
    output: Path | None = None
    push: bool = False

    def dockerfile(self) -> Path:
        """The file with the instructions."""
        return self.file or self.context / "Dockerfile"

    def validate(self) -> None:
        """Raises UsageError naming the first thing that is wrong."""
        if not self.context.is_dir():
            raise UsageError(
                f"{self.context}: no such directory", code="no-build-context", hint=f"ls -ld {self.context}"
            )
        if not self.dockerfile().is_file():
            raise UsageError(
                f"{self.dockerfile()}: no such file", code="no-build-context", hint="kins image build -f FILE CONTEXT"
            )
        for tag in self.tags:
            if not references.is_name(tag):
                raise UsageError(f"{tag!r} is no image's name", code="invalid-image-name", hint="-t app:1")
        if self.push and not self.tags:
            raise UsageError("only an image with a name can be pushed", code="invalid-image-name", hint="-t app:1")


class Builder:
    """The daemon's life in the supervisor: started when a build asks, stopped when none has run for a while.

    A build holds a lock on a file. The kernel takes it back however the build ends.
    """

    def __init__(self, files: Layout, record: Record, facts: Facts | None, supervisor: Supervisor) -> None:
        self._files = files
        self._facts = facts
        self._record = record
        self._supervisor = supervisor
        self._ready = asyncio.Event()
        self._watch: asyncio.Task[None] | None = None
        self._last_used = 0.0

    def changed(self, *, ready: bool) -> None:
        """Told by the supervisor."""
        if ready:
            self._ready.set()
        else:
            self._ready.clear()

    async def start(self, directory: str) -> None:
        """Return when it serves; `directory` has its programs."""
        # A build that ends before the watch looks has used it too.
        self._last_used = time.monotonic()
        if self._supervisor.process("buildkitd") is None:
            configuration_file(self._files).write_text(self._configuration())
            daemon = buildkitd(self._files, self._record.settings, Path(directory))
            self._supervisor.start(asking_registries(daemon, self._record))
            self._watch = asyncio.get_running_loop().create_task(self._stop_when_idle())
        await self._ready.wait()

    def _configuration(self) -> str:
        decisions = self._record.decisions
        size = None
        if decisions.images_on == "tmpfs" and self._facts is not None:
            size = image_store_size(self._facts) // CACHE_PART
        return configuration(self._files, decisions.snapshotter, f"/{control_group_name(self._record)}", size)

    async def _stop_when_idle(self) -> None:
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            with open(self._files.builder_lock, "ab") as lock:
                if not _locked(lock.fileno()):
                    self._last_used = time.monotonic()
                elif time.monotonic() - self._last_used > IDLE_SECONDS:
                    # Still holding the lock: a build that begins now waits for the end, and then asks for a start.
                    await self._supervisor.end("buildkitd")
                    return


def _locked(descriptor: int) -> bool:
    with contextlib.suppress(BlockingIOError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


def build(files: Layout, record: Record, request: BuildRequest) -> list[ListedImage]:
    """Build an image; BuildKit's progress goes to standard error. Returns the images of the tags in the node's store.
    Raises KinsError."""
    request.validate()
    images = NodeImages(files, record)
    directory = programs()
    if directory is None:
        raise KinsError("BuildKit is not installed", code="build-extra-missing", hint="pip install 'kins[build]'")
    with _building(files, directory):
        if request.output is not None:
            with archive.written_whole(request.output) as new:
                _run_client(files, request, directory, new)
            return []
        _run_client(files, request, directory, None)
    if request.tags and record.decisions.images_on == "tmpfs":
        _keep(files, images, request.tags)
    built = {references.whole_name(tag) for tag in request.tags}
    return [image for image in images.listed() if built.intersection(image.names)]


@contextlib.contextmanager
def _building(files: Layout, directory: Path) -> Iterator[None]:
    """A running daemon, for as long as the block takes."""
    with open(files.builder_lock, "ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        try:
            control.ask_one(files.control_socket, f"build {directory}", START_SECONDS)
        except KinsError as error:
            if error.code != "supervisor-silent":
                raise
            raise KinsError(
                f"BuildKit's daemon was not ready within {START_SECONDS:g} s",
                code="builder-not-ready",
                hint=f"kins logs buildkitd --name {files.directory.name}",
            ) from error
        yield


def _run_client(files: Layout, request: BuildRequest, directory: Path, target: Path | None) -> None:
    argv = [str(directory / "buildctl"), f"--addr=unix://{files.builder_socket}", "build", *client_options(request)]
    argv += ["--output", client_output(request, target)]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=2, check=False)
    if done.returncode != 0:
        raise KinsError(
            f"{request.dockerfile()} could not be built: BuildKit's reason stands above",
            code="build-failed",
            hint=f"kins logs buildkitd --name {files.directory.name}",
        )


def client_options(request: BuildRequest) -> list[str]:
    """buildctl's options for a request (moby/buildkit, docs: the frontend dockerfile.v0)."""
    dockerfile = request.dockerfile()
    options = ["--frontend=dockerfile.v0", f"--local=context={request.context}"]
    options += [f"--local=dockerfile={dockerfile.parent}", f"--opt=filename={dockerfile.name}"]
    # A loaded image comes before a registry's of the same name.
    options += ["--opt=image-resolve-mode=local"]
    options += [f"--opt=build-arg:{name}={value}" for name, value in request.arguments.items()]
    options += [f"--opt=target={request.target}"] if request.target else []
    options += [f"--secret={secret}" for secret in request.secrets]
    return [*options, "--no-cache"] if request.no_cache else options


def client_output(request: BuildRequest, target: Path | None) -> str:
    """buildctl's `--output`: an image of the node, or an archive."""
    names = ",".join(references.whole_name(tag) for tag in request.tags)
    name = [f'"name={names}"'] if names else []
    if target is not None:
        return ",".join(["type=docker", f"dest={target}", *name])
    return ",".join(["type=image", "unpack=true", *name, *(["push=true"] if request.push else [])])


def _keep(files: Layout, images: NodeImages, tags: Sequence[str]) -> None:
    """Keep an archive of what was built, which comes from nowhere else, for the node's next start."""
    with tempfile.TemporaryDirectory(prefix="build-", dir=files.temporary) as directory:
        built = Path(directory) / "built.tar"
        images.save(tags, built)
        kept_archives.keep(files, built, [references.whole_name(tag) for tag in tags])
