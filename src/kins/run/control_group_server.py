"""The server of emulated control groups (`kins.cgroupfs`) beside the command, where the kernel has none for it."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
from pathlib import Path

from kins.components.cgroupfs import CONTROL_GROUPS, VERSION
from kins.errors import KinsError
from kins.supervise.logs import tail

PROGRAM = (sys.executable, "-P", "-m", "kins.cgroupfs")
READY_SECONDS = 30.0


def start(log: Path, name: str) -> None:
    """Start it in pid 1 of the environment, whose end is its end too, and return when the control groups are mounted.

    `name` is unique in the network namespace. Raises KinsError `control-groups-not-mounted`.
    """
    ended, alive = os.pipe()  # the second one closes with it
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notices, open(log, "wb") as output:
        notices.bind(f"\0{name}")
        server = subprocess.Popen(
            [*PROGRAM, f"--mount={CONTROL_GROUPS}", f"--version={VERSION}", "--enforce-memory"],
            env={**os.environ, "NOTIFY_SOCKET": f"@{name}"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=[alive],
            cwd="/",
            start_new_session=True,
        )
        os.close(alive)
        ready, _, _ = select.select([notices.fileno(), ended], [], [], READY_SECONDS)
        os.close(ended)
    if not ready or ended in ready:
        raise KinsError(
            "control groups could not be emulated: " + "; ".join(tail(log, 3)),
            code="control-groups-not-mounted",
            hint="ls -l /dev/fuse",
        )
    # Whoever is pid 1 reaps everybody.
    server.returncode = 0
