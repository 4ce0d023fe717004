"""Images with real software for pods, as `docker save` writes them, made from Debian packages: build/images/NAME.tar.

Each archive stands alone, and all begin with the same layer: a node that has loaded one stores little for the next.
None of the tests' own has an entry point, so a pod's `command` or `args` is a whole command line.

For people: python -m tests.harness.images
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import shutil
import stat
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path

from tests.harness import BUILD
from tests.harness.cache import made_once
from tests.harness.rootfs import SUITE, copy_tree, install_packages, minimal_tree

DIRECTORY = BUILD / "images"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
EPOCH = "1970-01-01T00:00:00Z"

# What a test wants to run in any container: a client for TCP, UDP and HTTP, ip, ps, tar for `kubectl cp`. (Not busybox:
# the wget in Debian's crashes in gVisor.)
BASE_PACKAGES = (
    "bash",
    "coreutils",
    "curl",
    "iproute2",
    "netcat-openbsd",
    "procps",
    "tar",
    "util-linux",
)

# Left out of every layer; `*` matches slashes too. Partly what the run time mounts over, partly what only an
# installation needs, partly what would differ from one day to the next (dates in shadow, inode numbers in aux-cache).
OMITTED = (
    "boot/*",
    "dev/*",
    "etc/*-",
    "etc/apt",
    "etc/dpkg",
    "etc/gshadow",
    "etc/hostname",
    "etc/hosts",
    "etc/machine-id",
    "etc/resolv.conf",
    "etc/shadow",
    "proc/*",
    "run/*",
    "sys/*",
    "tmp/*",
    "usr/bin/apt*",
    "usr/bin/dpkg*",
    "usr/bin/perl*",
    "usr/lib/*/gconv",
    "usr/lib/*/libLLVM*",
    "usr/lib/*/libapt-*",
    "usr/lib/*/libperl.*",
    "usr/lib/*/libz3.*",
    "usr/lib/*/perl*",
    "usr/lib/apt",
    "usr/lib/dpkg",
    "usr/lib/postgresql/*/lib/bitcode",
    "usr/lib/postgresql/*/lib/llvmjit*",
    "usr/lib/systemd",
    "usr/lib/udev",
    "usr/sbin/dpkg*",
    "usr/share/bash-completion",
    "usr/share/bug",
    "usr/share/common-licenses",
    "usr/share/debconf",
    "usr/share/doc",
    "usr/share/doc-base",
    "usr/share/dpkg",
    "usr/share/i18n",
    "usr/share/info",
    "usr/share/keyrings",
    "usr/share/lintian",
    "usr/share/locale",
    "usr/share/man",
    "usr/share/perl",
    "usr/share/perl5",
    "usr/share/postgresql/*/man",
    "usr/share/zoneinfo",
    "var/backups/*",
    "var/cache/*",
    "var/lib/apt",
    "var/lib/dpkg",
    "var/lib/postgresql/*",
    "var/lib/systemd",
    "var/log/*.log",
    "var/log/[bw]tmp",
    "var/log/apt",
    "var/log/faillog",
    "var/log/lastlog",
)

# `sleep` alone would not end on SIGTERM: the kernel spares a container's first process while its action is the default.
SLEEP = ("bash", "-c", "trap 'exit 0' TERM; sleep infinity & wait")

# Without IPv6, which a sandbox may lack. nginx's own paths for temporary files are Debian's.
NGINX_CONFIGURATION = """\
daemon off;
user www-data;
worker_processes 1;
pid /run/nginx.pid;
error_log stderr notice;
events { worker_connections 256; }
http {
    include mime.types;
    access_log /dev/stdout;
    server {
        listen 80 default_server;
        root /var/www/html;
    }
}
"""

# As upstream's own image does it: the volume is root's when it is new, and the server must not be root. The socket is
# where a client looks first that is told nothing else.
POSTGRES_START = """\
set -eu
install --directory --owner=postgres --group=postgres --mode=0700 "$PGDATA"
install --directory --owner=postgres --group=postgres /run/postgresql
as_postgres="setpriv --reuid=postgres --regid=postgres --init-groups --"
[ -e "$PGDATA/PG_VERSION" ] || $as_postgres initdb --auth=trust --encoding=UTF8 --locale=C.UTF-8
exec $as_postgres postgres -c unix_socket_directories=/run/postgresql -c listen_addresses='*'
"""


@dataclass(frozen=True)
class Image:
    """An image: the base layer, one for packages and one for files of its own where it has any.

    `programs` are files of this machine, `links` symbolic links and where they lead.
    """

    name: str
    command: tuple[str, ...]
    packages: tuple[str, ...] = ()
    files: dict[str, str] = field(default_factory=dict)
    directory: str = "/"
    variables: dict[str, str] = field(default_factory=dict)
    stop_signal: str = "SIGTERM"
    entry_point: tuple[str, ...] = ()
    user: str = ""
    programs: dict[str, Path] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    archive_name: str = ""

    @property
    def archive(self) -> Path:
        """Where its archive lies, once `built`: by the image's name without a tag, unless it has one of its own."""
        return DIRECTORY / f"{self.archive_name or self.name.rpartition('/')[2].partition(':')[0]}.tar"


SHELL = Image("kins-test/shell:1", SLEEP)
NGINX = Image(
    "kins-test/nginx:1",
    # -e: until it has read its configuration nginx would log to a file.
    ("nginx", "-e", "stderr"),
    packages=("nginx-light",),
    files={"etc/nginx/nginx.conf": NGINX_CONFIGURATION, "var/www/html/index.html": "nginx in kins\n"},
)
REDIS = Image(
    "kins-test/redis:1",
    # Nothing is written to disk, and other pods may connect without a password.
    ("redis-server", "--protected-mode", "no", "--save", ""),
    packages=("redis-server",),
    directory="/data",
)
POSTGRES = Image(
    "kins-test/postgres:1",
    ("bash", "/start"),
    packages=("postgresql",),
    files={"start": POSTGRES_START},
    directory="/data",
    # The programs themselves: those in /usr/bin are wrappers in Perl, which images here do without.
    # SIGTERM would wait for clients to leave.
    stop_signal="SIGINT",
    variables={"PGDATA": "/data/cluster", "PATH": f"/usr/lib/postgresql/15/bin:{PATH}"},
)
# For programs of the tests' own.
PYTHON = Image("kins-test/python:1", SLEEP, packages=("python3", "python3-psycopg2", "python3-redis"))
IMAGES = (SHELL, NGINX, REDIS)
# Those that a few tests load by themselves: what every cluster loads, all tests pay for.
MORE_IMAGES = (POSTGRES, PYTHON)


def image_archives() -> Path:
    """The directory with the archive of every image."""
    for image in (*IMAGES, *MORE_IMAGES):
        built(image)
    return DIRECTORY


def built(image: Image) -> Path:
    """The archive of one image, made if it is not there or if what it is made from has changed since."""
    programs = [(program.stat().st_size, program.stat().st_mtime_ns) for program in image.programs.values()]
    source = hashlib.sha256(Path(__file__).read_bytes() + repr((image, programs)).encode()).hexdigest()
    return made_once(image.archive, partial(make_archive, image), key=source)


def base_tree() -> Path:
    """The tree of the layer that all images share."""
    return made_once(tree_place(BASE_PACKAGES), make_base_tree)


def make_base_tree(target: Path) -> None:
    """Fill `target`; see `base_tree`."""
    copy_tree(minimal_tree(), target)
    install_packages(target, BASE_PACKAGES)


def packaged_tree(packages: tuple[str, ...]) -> Path:
    """The base's tree with more packages, shared by the images that have the same ones."""

    def make(target: Path) -> None:
        copy_tree(base_tree(), target)
        install_packages(target, packages)

    return made_once(tree_place((*BASE_PACKAGES, *packages)), make) if packages else base_tree()


def tree_place(packages: tuple[str, ...]) -> Path:
    """Where a tree lies, by what is in it."""
    digest = hashlib.sha256(" ".join(packages).encode()).hexdigest()[:12]
    return BUILD / "rootfs" / f"{SUITE}-image-{digest}"


def make_archive(image: Image, target: Path) -> None:
    """Write the archive of `image`: manifest.json, the configuration, the layers, uncompressed."""
    base, packaged = base_tree(), packaged_tree(image.packages)
    layers = [layer(base)]
    if image.packages:
        layers.append(layer(packaged, base))
    with tempfile.TemporaryDirectory(dir=target.parent) as directory:
        tree = Path(directory) / "tree"
        copy_tree(packaged, tree)
        add_files(image, tree)
        if own := layer(tree, packaged):
            layers.append(own)
    with target.open("wb") as file:
        write_archive(image, layers, file)


def add_files(image: Image, tree: Path) -> None:
    """Put the image's own files and working directory into its tree."""
    for name, text in image.files.items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for name, program in image.programs.items():
        shutil.copy(program, tree / name)
    for name, goal in image.links.items():
        (tree / name).unlink(missing_ok=True)
        (tree / name).symlink_to(goal)
    (tree / image.directory.lstrip("/")).mkdir(exist_ok=True)


def layer(tree: Path, base: Path | None = None) -> bytes:
    """A tar archive of what `tree` has and `base` has not, empty when that is nothing; its bytes depend on the files
    alone.

    What `base` has and `tree` lacks stays visible: packages only add.
    """
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name in entries(tree):
            if base is not None and same(tree / name, base / name):
                continue
            entry = archive.gettarinfo(str(tree / name), name)
            entry.mtime = 0
            entry.uname = entry.gname = ""
            with (tree / name).open("rb") if entry.isreg() else io.BytesIO() as content:
                archive.addfile(entry, content)
        empty = not archive.getmembers()
    return b"" if empty else buffer.getvalue()


def entries(tree: Path) -> Iterator[str]:
    """The names of everything in a tree that belongs in a layer, parents first, each directory in order."""
    for directory, directories, files in os.walk(tree):
        above = Path(directory).relative_to(tree)
        kept = [name for name in sorted(directories + files) if not omitted(str(above / name))]
        yield from (str(above / name) for name in kept)
        directories[:] = [name for name in kept if name in directories]


def omitted(name: str) -> bool:
    """Whether a path of a tree is left out of its layer."""
    return any(fnmatchcase(name, pattern) for pattern in OMITTED)


def same(path: Path, other: Path) -> bool:
    """Whether two trees, one a copy of the other to begin with, have the same here."""
    if not os.path.lexists(other):
        return False
    mine, theirs = path.lstat(), other.lstat()
    if (mine.st_mode, mine.st_uid, mine.st_gid) != (theirs.st_mode, theirs.st_uid, theirs.st_gid):
        return False
    # A directory's time says that something in it changed, which stands in the layer itself.
    return stat.S_ISDIR(mine.st_mode) or (mine.st_size, mine.st_mtime_ns) == (theirs.st_size, theirs.st_mtime_ns)


def write_archive(image: Image, layers: list[bytes], file: io.BufferedIOBase) -> None:
    """Write a docker archive with one image."""
    digests = [hashlib.sha256(content).hexdigest() for content in layers]
    configuration = json.dumps(image_configuration(image, digests), sort_keys=True).encode()
    configuration_name = f"{hashlib.sha256(configuration).hexdigest()}.json"
    names = [f"{digest}/layer.tar" for digest in digests]
    manifest = [{"Config": configuration_name, "RepoTags": [image.name], "Layers": names}]
    with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        files = {"manifest.json": json.dumps(manifest).encode(), configuration_name: configuration}
        for name, content in {**files, **dict(zip(names, layers, strict=True))}.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


def image_configuration(image: Image, digests: list[str]) -> dict[str, object]:
    """The image's configuration (image-spec, config.md), by the digests of its layers."""
    return {
        "architecture": ARCHITECTURES[platform.machine()],
        "os": "linux",
        "created": EPOCH,
        "config": {
            "Cmd": list(image.command),
            "Env": [f"{name}={value}" for name, value in {"PATH": PATH, **image.variables}.items()],
            "WorkingDir": image.directory,
            "StopSignal": image.stop_signal,
            "User": image.user,
            **({"Entrypoint": list(image.entry_point)} if image.entry_point else {}),
        },
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}" for digest in digests]},
        "history": [{"created": EPOCH, "created_by": "tests/harness/images.py"} for _ in digests],
    }


if __name__ == "__main__":
    sys.stdout.write(f"{image_archives()}\n")
