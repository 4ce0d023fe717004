"""The machine that measures, and how busy it is with other work."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path

SAMPLE_SECONDS = 1.0
# Below this share the machine counts as quiet.
QUIET_SHARE = 0.1


def description() -> str:
    """Processors, memory and kernel."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    return f"{os.cpu_count()} CPUs, {memory:.0f} GiB, Linux {platform.release()}"


def busy_share() -> float:
    """The share of all processors' time that is used now, by a look of one second."""
    total, idle = _times()
    time.sleep(SAMPLE_SECONDS)
    later_total, later_idle = _times()
    return round(1 - (later_idle - idle) / max(later_total - total, 1), 2)


def wait_for_quiet(patience: float) -> float:
    """Wait at most `patience` seconds until the machine is quiet; returns how busy it is then."""
    deadline = time.monotonic() + patience
    while (share := busy_share()) > QUIET_SHARE and time.monotonic() < deadline:
        pass
    return share


def _times() -> tuple[int, int]:
    """All and idle ticks since the machine's start (proc_stat(5)): user to steal, and idle with iowait of them."""
    ticks = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return sum(ticks), ticks[3] + ticks[4]
