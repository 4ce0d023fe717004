"""Programs of ours beside the command: started by pid 1 of the environment, ended with it."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from kins.components.cgroupfs import CONTROL_GROUPS, VERSION
from kins.errors import KinsError
from kins.supervise.logs import tail

READY_SECONDS = 30.0


def start_control_groups(logs: Path) -> None:
    """The server of emulated control groups (`kins.cgroupfs`). For the rest see `start`."""
    program = (sys.executable, "-P", "-m", "kins.cgroupfs")
    start("cgroupfs", [*program, f"--mount={CONTROL_GROUPS}", f"--version={VERSION}", "--enforce-memory"], logs)


def start(name: str, argv: Sequence[str], logs: Path) -> None:
    """Start one, and return when it says that it is ready (sd_notify(3)); what it writes goes into a file in `logs`.

    Whoever calls is pid 1 and reaps it. Raises KinsError `component-failed`, OSError.
    """
    log = logs / f"{name}.log"
    ended, alive = os.pipe()  # the second one closes with it
    # An abstract socket (unix(7)): a path may be too long.
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notices, open(log, "wb") as output:
        notices.bind(f"\0kins-run-{name}-{os.urandom(4).hex()}")
        server = subprocess.Popen(
            argv,
            env={**os.environ, "NOTIFY_SOCKET": "@" + notices.getsockname()[1:].decode()},
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
        why = "; ".join(tail(log, 3)) or f"it is not ready after {READY_SECONDS:g} s"
        raise KinsError(f"{name} did not start: {why}", code="component-failed", hint="kins doctor")
    # Popen must not wait for it.
    server.returncode = 0
