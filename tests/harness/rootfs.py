"""Debian root file systems, made with debootstrap and apt from the mirror that this machine's own apt uses.

No mirror is written down here: a machine that can install packages can make these.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tests.harness import BUILD
from tests.harness.cache import made_once

SUITE = "bookworm"

# What a small hosted sandbox offers, and what kins may therefore count on: Python, mount(8), ps, curl.
SANDBOX_PACKAGES = ("ca-certificates", "curl", "mount", "procps", "python3", "python3-venv")

# Debian's Docker engine, for the experiment that runs it inside; its recommended packages are about other things.
DOCKER_PACKAGES = ("docker.io",)

# The account of the tests that need no privilege.
USER_ID = 1000


def mirror() -> str:
    """The address of the Debian archive in apt's own sources: the first one that calls itself Debian."""
    targets = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI) $(LABEL) $(COMPONENT)", "Created-By: Packages"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    found = [line.split() for line in targets.splitlines() if line.endswith(" Debian main")]
    if not found:
        raise RuntimeError(f"no Debian archive among apt's sources; run: apt-get update\n{targets}")
    return found[0][0]


def minimal_tree() -> Path:
    """The smallest Debian tree that apt can work in; the base of everything else here."""
    return made_once(BUILD / "rootfs" / f"{SUITE}-minimal", bootstrap)


def bootstrap(target: Path) -> None:
    """Fill `target` with debootstrap's minimal variant, without what no test reads."""
    logged(["debootstrap", "--variant=minbase", SUITE, str(target), mirror()])
    shrink(target)
    (target / "etc" / "resolv.conf").unlink(missing_ok=True)


def sandbox_tree() -> Path:
    """The root file system of the sandboxes: the minimal tree, `SANDBOX_PACKAGES` and an ordinary user."""
    digest = hashlib.sha256(" ".join(SANDBOX_PACKAGES).encode()).hexdigest()[:12]
    return made_once(BUILD / "rootfs" / f"{SUITE}-sandbox-{digest}", make_sandbox_tree)


def docker_tree(base: Path) -> Path:
    """A tree with a Docker engine."""
    digest = hashlib.sha256(" ".join([base.name, *DOCKER_PACKAGES]).encode()).hexdigest()[:12]
    return made_once(BUILD / "rootfs" / f"{SUITE}-docker-{digest}", partial(make_docker_tree, base))


def make_docker_tree(base: Path, target: Path) -> None:
    """Fill `target`; see `docker_tree`."""
    copy_tree(base, target)
    install_packages(target, DOCKER_PACKAGES)


def make_sandbox_tree(target: Path) -> None:
    """Fill `target`; see `sandbox_tree`."""
    copy_tree(minimal_tree(), target)
    install_packages(target, SANDBOX_PACKAGES)
    logged(["chroot", str(target), "useradd", "--create-home", "--uid", str(USER_ID), "--shell", "/bin/bash", "user"])


def install_packages(tree: Path, packages: tuple[str, ...]) -> None:
    """Install Debian packages into `tree`, in mount and process namespaces that end with the installation."""
    inside = [
        "set -eu",
        "mount --make-rprivate /",
        f"mount -t proc proc {tree}/proc",
        # Package scripts must not start the services that they bring.
        f"printf '#!/bin/sh\\nexit 101\\n' > {tree}/usr/sbin/policy-rc.d && chmod 755 {tree}/usr/sbin/policy-rc.d",
        f"chroot {tree} apt-get update -q",
        f"chroot {tree} apt-get install -q -y --no-install-recommends {' '.join(packages)}",
        f"rm {tree}/usr/sbin/policy-rc.d",
    ]
    with apts_way_out(tree) as environment:
        logged(["unshare", "--mount", "--pid", "--fork", "sh", "-c", "\n".join(inside)], environment)
    shrink(tree)


@contextmanager
def apts_way_out(tree: Path) -> Iterator[dict[str, str]]:
    """Lend `tree` this machine's resolver, certificates and apt's proxy settings; yield the environment to use."""
    lent = {Path("/etc/resolv.conf"): tree / "etc/resolv.conf", Path("/etc/hosts"): tree / "etc/hosts"}
    present = {target for target in lent.values() if target.exists()}
    for source, target in lent.items():
        if target not in present and source.exists():
            shutil.copyfile(source, target)
    settings = tree / "tmp/apt.conf"
    settings.write_text(
        subprocess.run(["apt-config", "dump", "Acquire"], check=True, capture_output=True, text=True).stdout
    )
    proxies = {name: value for name, value in os.environ.items() if name.lower().endswith("_proxy")}
    try:
        yield {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "DEBIAN_FRONTEND": "noninteractive",
            "LC_ALL": "C.UTF-8",
            "APT_CONFIG": "/tmp/apt.conf",
            **proxies,
        }
    finally:
        settings.unlink()
        for target in set(lent.values()) - present:
            target.unlink(missing_ok=True)


def shrink(tree: Path) -> None:
    """Remove what no test reads and copies would pay for: package files, lists, manuals, translations."""
    for pattern in (
        "var/cache/apt/*",
        "var/lib/apt/lists/*",
        "usr/share/doc/*",
        "usr/share/man/*",
        "usr/share/locale/*",
    ):
        for path in tree.glob(pattern):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def copy_tree(source: Path, target: Path) -> None:
    """A copy with owners, modes, links and devices; shares blocks where the file system can."""
    subprocess.run(["cp", "--archive", "--reflink=auto", str(source), str(target)], check=True)


def logged(command: list[str], environment: dict[str, str] | None = None) -> None:
    """Run a talkative command whose output matters only when it fails."""
    with tempfile.TemporaryFile("w+") as log:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=environment, check=False
        )
        if done.returncode != 0:
            log.seek(0)
            raise RuntimeError(f"{' '.join(command)}: exit {done.returncode}\n{log.read()[-8000:]}")


if __name__ == "__main__":
    sys.stdout.write(f"{sandbox_tree()}\n")
