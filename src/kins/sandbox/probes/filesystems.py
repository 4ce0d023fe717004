"""The file system that holds the clusters."""

from __future__ import annotations

import socket
from pathlib import Path

from kins.sandbox.probes.table import Answers, Values
from kins.sys import mounts


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


ANSWERS: Answers = {"unix_sockets": unix_sockets}
VALUES: Values = {"data_type": (data_type, 0)}
