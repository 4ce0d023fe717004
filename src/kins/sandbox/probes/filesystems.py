"""The file system that holds the clusters, and others that could."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from kins.sandbox.probes.table import Answers, Values
from kins.sys import mounts

# Where a node puts something that is seen from inside only.
NODE_PLACES = ("/dev", "/etc", "/run", "/var/lib", "/var/log")
# Where node software keeps its data, and where it could.
CANDIDATES = ("/", "/tmp", "/var/lib", "/run", "/dev/shm")


def data_type(scratch: Path) -> int:
    """The type of the file system that holds the clusters."""
    return mounts.filesystem_type(scratch)


def unix_sockets(scratch: Path) -> None:
    """A socket of the file system that can be connected to."""
    path = str(scratch / "socket")
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind(path)
        server.listen()
        client.connect(path)


def linked_programs(scratch: Path) -> None:
    """This Python by a link below a linked directory, as k3s has its CNI plugins."""
    place, program = scratch / "place", scratch / "program"
    place.mkdir()
    program.symlink_to(Path(sys.executable).resolve())
    (scratch / "current").symlink_to(place)
    (place / "bridge").symlink_to(program)
    done = subprocess.run([scratch / "current" / "bridge", "-I", "-S", "-c", ""], capture_output=True, check=False)
    if done.returncode != 0:
        raise OSError(f"exit status {done.returncode}: {done.stderr.decode(errors='replace').strip()[-200:]}")


def file_systems(scratch: Path) -> dict[str, dict[str, Any]]:
    """What each candidate lies on."""
    kinds = {entry.target: entry.kind for entry in mounts.mount_table()}
    places = {"data": scratch, **{each: Path(each) for each in CANDIDATES}}
    return {name: _file_system(place, kinds) for name, place in places.items() if place.is_dir()}


def unwritable(_: Path) -> list[str]:
    """Where we may make nothing; of a place that is not there, the directory above it."""
    found = (next(each for each in (Path(place), *Path(place).parents) if each.exists()) for place in NODE_PLACES)
    return list(dict.fromkeys(str(each) for each in found if not os.access(each, os.W_OK)))


def _file_system(place: Path, kinds: dict[str, str]) -> dict[str, Any]:
    found, real = os.statvfs(place), place.resolve()
    above = next((str(each) for each in (real, *real.parents) if str(each) in kinds), "/")
    return {
        "kind": kinds.get(above, ""),
        "magic": mounts.filesystem_type(place),
        "size": found.f_blocks * found.f_frsize,
        "free": found.f_bavail * found.f_frsize,
        "writable": _is_writable(place),
    }


def _is_writable(place: Path) -> bool:
    """Tried with a file that has no name, where that can be had."""
    try:
        tempfile.TemporaryFile(dir=place, prefix="kins-probe-").close()
    except OSError:
        return False
    return True


ANSWERS: Answers = {"unix_sockets": unix_sockets, "linked_programs": linked_programs}
VALUES: Values = {"data_type": (data_type, 0), "file_systems": (file_systems, {}), "unwritable": (unwritable, [])}
