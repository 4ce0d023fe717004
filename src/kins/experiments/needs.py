"""What experiments need of the sandbox."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from kins.experiments.model import Need
from kins.soak.surroundings import surroundings
from kins.sys import process


def _root() -> str | None:
    if os.geteuid() == 0 and process.has_capability(process.CAP_SYS_ADMIN):
        return None
    return "root with CAP_SYS_ADMIN: it mounts and makes namespaces"


def _gvisor() -> str | None:
    if surroundings().sandbox == "gVisor":
        return None
    return "a gVisor sandbox: it is about what gVisor lacks, and would change this machine's own control groups"


def _interception() -> str | None:
    from kins.errors import KinsError
    from kins.intercept.tracer import check_support

    try:
        check_support()
    except KinsError as error:
        return f"interception: {error.message}"
    return None


def program(name: str, package: str) -> Need:
    """A program on the path."""

    def lacking() -> str | None:
        found = shutil.which(name) is not None
        return None if found else f"the program {name!r} (Debian's package {package}) is not on the path"

    return Need(lacking)


def _fuse() -> str | None:
    return None if Path("/dev/fuse").exists() else "FUSE: there is no /dev/fuse"


ROOT = Need(_root)
FUSE = Need(_fuse)
GVISOR = Need(_gvisor)
INTERCEPTION = Need(_interception)
