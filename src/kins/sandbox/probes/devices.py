"""Devices that node software opens."""

from __future__ import annotations

import os
from pathlib import Path

from kins.sandbox.probes.table import Answers


def kernel_messages(_: Path) -> None:
    """The kubelet's out-of-memory watcher opens /dev/kmsg and ends the kubelet without it."""
    os.close(os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK))


ANSWERS: Answers = {"kernel_messages": kernel_messages}
