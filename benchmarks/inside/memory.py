"""The memory of each program that runs in the environment."""

from __future__ import annotations

import os
import re
from collections import Counter
from pathlib import Path
from typing import NamedTuple

PROC = Path("/proc")


class Memory(NamedTuple):
    """Bytes by program. `kind`: `pss` shares pages among those that have them mapped, `rss` counts them for each."""

    kind: str
    programs: dict[str, int]


def memory() -> Memory:
    """Of every process but the environment's first one and those that measure."""
    # gVisor has no smaps_rollup (and its smaps says Pss where it means Rss).
    kind = "pss" if (PROC / "self" / "smaps_rollup").exists() else "rss"
    measuring = {1, os.getpid(), os.getppid()}
    programs: Counter[str] = Counter()
    for entry in PROC.iterdir():
        if not entry.name.isdigit() or int(entry.name) in measuring:
            continue
        try:
            name = program((entry / "cmdline").read_bytes().decode().split("\0"))
            programs[name] += pss(entry) if kind == "pss" else rss(entry)
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended meanwhile
    return Memory(kind, {name: count for name, count in programs.items() if count})


def program(arguments: list[str]) -> str:
    """What a person calls a process with these arguments; the applets of the engine go by their own names."""
    name = Path(arguments[0]).name
    if name == "kins-engine":
        return arguments[1]
    return "kins-supervisor" if "kins.cluster.daemon" in arguments else name


def pss(process: Path) -> int:
    """The process's proportional share of its pages, in bytes (proc_pid_smaps(5))."""
    found = re.search(r"^Pss: +(\d+) kB", (process / "smaps_rollup").read_text(), re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def rss(process: Path) -> int:
    """All of the process's pages that are in memory, in bytes (proc_pid_statm(5))."""
    return int((process / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
