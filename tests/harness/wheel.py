"""The wheel in dist/, installed as a user would, into the tree that environments start from.

Nothing but the download of its dependencies reaches a package registry; the installation has no network at all.

For people: python -m tests.harness.wheel
"""

from __future__ import annotations

import hashlib
import json
import platform
import shlex
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from email.parser import BytesParser
from functools import partial
from pathlib import Path

from tests.harness import BUILD, ROOT
from tests.harness.cache import hold, made_once, remove_unused
from tests.harness.environment import VARIABLES
from tests.harness.rootfs import SUITE, copy_tree, logged, sandbox_tree

WHEELHOUSE = BUILD / "wheelhouse"
PREFIX = f"{SUITE}-kins-"

# Where the wheel is installed, and where `kins` is found, inside.
ENVIRONMENT = "/opt/kins"
COMMAND = "/usr/local/bin/kins"

# The oldest glibc that a wheel's tag can name (PEP 600).
OLDEST_GLIBC_MINOR = 5


def built_wheel() -> Path:
    """The wheel that `make wheel` left."""
    found = list((ROOT / "dist").glob("kins-*.whl"))
    if len(found) != 1:
        raise RuntimeError(f"make wheel first; in dist/: {[path.name for path in found]}")
    return found[0]


def kins_tree(wheel: Path | None = None) -> Path:
    """The sandboxes' root file system with a wheel installed: `kins` is on the path.

    Without an argument it is the one in dist/. Another wheel gives another tree; those of earlier wheels are removed,
    unless another process has asked for one and is still running.
    """
    wheel = wheel or built_wheel()
    base = sandbox_tree()
    wheels = [wheel, *wheel.parent.glob("kins_build-*.whl")]
    digest = hashlib.sha256(b"".join(map(Path.read_bytes, wheels)) + base.name.encode()).hexdigest()[:12]
    target = BUILD / "rootfs" / f"{PREFIX}{digest}"
    hold(target)
    made_once(target, partial(make_kins_tree, base, wheel))
    remove_unused(path for path in target.parent.glob(f"{PREFIX}*") if path.is_dir() and path != target)
    return target


def make_kins_tree(base: Path, wheel: Path, target: Path) -> None:
    """Fill `target`; see `kins_tree`."""
    copy_tree(base, target)
    install(target, wheel, wheelhouse(wheel))
    (target / COMMAND.lstrip("/")).symlink_to(f"{ENVIRONMENT}/bin/kins")


def install(tree: Path, wheel: Path, dependencies: Path) -> None:
    """Install `wheel` inside `tree` in a virtual environment, from files alone."""
    places = {wheel.parent.resolve(): tree / "tmp/wheel", dependencies.resolve(): tree / "tmp/dependencies"}
    inside = ["set -eu", "mount --make-rprivate /", f"mount -t proc proc {shlex.quote(str(tree))}/proc"]
    for source, place in places.items():
        place.mkdir()
        inside.append(shlex.join(["mount", "--bind", "-o", "ro", str(source), str(place)]))
    pip = [f"{ENVIRONMENT}/bin/pip", "--no-cache-dir", "--disable-pip-version-check", "install"]
    files = ["--no-index", "--find-links=/tmp/dependencies", "--find-links=/tmp/wheel", with_extras(wheel)]
    inside += [
        shlex.join(["chroot", str(tree), "python3", "-m", "venv", ENVIRONMENT]),
        shlex.join(["chroot", str(tree), *pip, *files]),
    ]
    logged(["unshare", "--mount", "--net", "--pid", "--fork", "sh", "-c", "\n".join(inside)], VARIABLES)
    for place in places.values():
        place.rmdir()


def wheelhouse(wheel: Path) -> Path:
    """The directory with the wheels of all that `wheel` depends on, for the sandboxes' Python."""
    needed, options = requirements(wheel), download_options(sandbox_tree())
    return made_once(WHEELHOUSE, partial(download, needed, options), key=json.dumps([needed, options]))


def requirements(wheel: Path) -> list[str]:
    """What a wheel depends on, with all its extras (core metadata, Requires-Dist)."""
    found = metadata(wheel, "Requires-Dist")
    # pip would leave out a line whose marker asks for an extra. BuildKit's wheel lies beside this one.
    found = [line for line in found if not line.startswith("kins-build")]
    return [line.partition(";")[0].strip() if "extra" in line.partition(";")[2] else line for line in found]


def with_extras(wheel: Path) -> str:
    """A wheel below /tmp/wheel as pip takes it, with every extra."""
    return f"/tmp/wheel/{wheel.name}[{','.join(metadata(wheel, 'Provides-Extra'))}]"


def metadata(wheel: Path, field: str) -> list[str]:
    """The values of a field of a wheel's metadata."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        headers = BytesParser().parsebytes(archive.read(name), headersonly=True)
    found: list[str] = headers.get_all(field, [])
    return found


def download_options(tree: Path) -> list[str]:
    """What pip must know to choose wheels for another Python and glibc than the ones that it runs on."""
    version = 'import sys; print("%d.%d" % sys.version_info[:2])'
    python = asked(tree, "python3", "-c", version)
    newest = int(asked(tree, "getconf", "GNU_LIBC_VERSION").rpartition(".")[2])
    # pip takes each tag literally: a newer glibc does not imply the older ones.
    names = [f"manylinux_2_{minor}" for minor in range(newest, OLDEST_GLIBC_MINOR - 1, -1)]
    tags = [f"--platform={name}_{platform.machine()}" for name in (*names, "manylinux2014", "linux")]
    return ["--only-binary=:all:", "--implementation=cp", f"--python-version={python}", *tags]


def asked(tree: Path, *command: str) -> str:
    """What a command of a tree prints."""
    done = subprocess.run(["chroot", str(tree), *command], env=VARIABLES, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def download(needed: Sequence[str], options: Sequence[str], target: Path) -> None:
    """Fill `target` through this machine's pip and its configuration.

    pip judges environment markers by the Python that it runs on. Where that matters, the installation, which has
    nothing else to draw from, fails and names what is missing.
    """
    logged([sys.executable, "-m", "pip", "download", "--quiet", f"--dest={target}", *options, *needed])


if __name__ == "__main__":
    sys.stdout.write(f"{kins_tree()}\n")
