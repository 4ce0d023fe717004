"""Keeps memory limits where the kernel does not: watches what the processes of a group hold, and kills.

Whose limits they are, a source tells: our own groups, or a tree that somebody else serves (gVisor's own control groups
store limits and enforce none). Linux would first take back what files can give again, so only memory without a file
counts, and is looked at closely only when all resident memory together is above the limit.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from kins.cgroupfs import processes
from kins.cgroupfs.processes import ProcessStat

log = logging.getLogger(__name__)

# How often is looked: a group near its limit may pass it soon.
INTERVAL_SECONDS = 0.25
SHORT_INTERVAL_SECONDS = 0.05
NEAR = 0.75
# Watching takes no more than one part in so many of the time.
WATCHING_SHARE = 5
# A close look is not repeated before the group has grown by this part of its limit, or this long has passed.
GROWTH = 1 / 16
RECHECK_SECONDS = 1.0
# Whoever is told of a kill must be told before the process is gone; then nobody waits any longer.
TELL_SECONDS = 5.0
# What oom_score_adj says of a process that must not be killed (proc_pid_oom_score_adj(5)).
NEVER = -1000


@dataclass(frozen=True)
class LimitedGroup:
    """A group with a limit in bytes, and the processes in it and below it. `whole` is memory.oom.group."""

    path: str
    limit: int
    pids: frozenset[int]
    whole: bool = False


class Source(Protocol):
    """Where limits come from."""

    def limited(self) -> Iterable[LimitedGroup]:
        """Every group that has a limit; inner ones before those around them."""

    def stats(self, group: LimitedGroup) -> Iterable[ProcessStat]:
        """What the processes of a group are, as of now."""

    def group_of(self, group: LimitedGroup, pid: int) -> str:
        """The path of the group at or below `group` that a process is in itself."""

    def killed(self, group: LimitedGroup, pids: Sequence[int]) -> None:
        """Processes are about to be killed: count it."""


@dataclass(frozen=True)
class Measured:
    """When a group was looked at closely, and what was resident then."""

    resident: int
    at: float


class Enforcement:
    """Watches a source. `tell` is a command that gets the name of each group in which a process is killed."""

    def __init__(self, source: Source, tell: Sequence[str] = ()) -> None:
        self._source = source
        self._tell = tuple(tell)
        self._measured: dict[str, Measured] = {}

    def watch(self, stopping: threading.Event) -> None:
        """Look again and again until `stopping` is set."""
        interval = INTERVAL_SECONDS
        while not stopping.wait(interval):
            began = time.monotonic()
            fullest = max((self.check(group) for group in self._source.limited()), default=0.0)
            taken = time.monotonic() - began
            interval = max(SHORT_INTERVAL_SECONDS if fullest > NEAR else INTERVAL_SECONDS, taken * WATCHING_SHARE)

    def check(self, group: LimitedGroup) -> float:
        """Kill if a group holds too much; returns how full it is, from 0 to 1 and beyond."""
        stats = [stat for stat in self._source.stats(group) if is_killable(stat)]
        resident = sum(stat.resident for stat in stats)
        if resident > group.limit and self._is_worth_a_look(group, resident):
            held = {stat.pid: processes.anonymous_memory(stat.pid) for stat in stats}
            self._measured[group.path] = Measured(resident, time.monotonic())
            if sum(held.values()) > group.limit:
                del self._measured[group.path]
                self._kill(group, stats, held)
        return resident / max(group.limit, 1)

    def _is_worth_a_look(self, group: LimitedGroup, resident: int) -> bool:
        last = self._measured.get(group.path)
        if last is None or time.monotonic() - last.at > RECHECK_SECONDS:
            return True
        return resident - last.resident > group.limit * GROWTH

    def _kill(self, group: LimitedGroup, stats: list[ProcessStat], held: dict[int, int]) -> None:
        victims = [victim.pid for victim in chosen(group, stats, held)]
        if not victims:
            return
        # Stopped they grow no further, while those who must know it before the end are told.
        send(victims, signal.SIGSTOP)
        log.warning(
            "memory of %s: %d bytes, limit %d: killing %s", group.path, sum(held.values()), group.limit, victims
        )
        self._source.killed(group, victims)
        for path in sorted({self._source.group_of(group, pid) for pid in victims}):
            self._tell_of(path)
        send(victims, signal.SIGKILL)

    def _tell_of(self, path: str) -> None:
        if not self._tell:
            return
        try:
            command = [*self._tell, path.rpartition("/")[2]]
            done = subprocess.run(command, stdin=subprocess.DEVNULL, timeout=TELL_SECONDS, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            log.warning("cannot tell of a kill in %s: %s", path, error)
            return
        if done.returncode:
            log.warning("cannot tell of a kill in %s: %s: exit %d", path, self._tell[0], done.returncode)


def is_killable(stat: ProcessStat) -> bool:
    """Whether a process lives, and is not one of runc's own stages: the kernel does not charge a container with what
    those had before they came."""
    return stat.state not in processes.DEAD and not stat.name.startswith("runc:[")


def chosen(group: LimitedGroup, stats: list[ProcessStat], held: dict[int, int]) -> list[ProcessStat]:
    """Whom the kernel would kill (mm/oom_kill.c, oom_badness): the one with the most points, or all of the group."""
    points: list[tuple[int, int, ProcessStat]] = []
    for stat in stats:
        adjustment = oom_score_adjustment(stat.pid)
        if adjustment != NEVER:
            points.append((held[stat.pid] + adjustment * group.limit // 1000, -stat.pid, stat))
    if not points or group.whole:
        return [stat for _, _, stat in points]
    return [max(points, key=lambda each: each[:2])[2]]


def oom_score_adjustment(pid: int) -> int:
    """/proc/PID/oom_score_adj."""
    try:
        return int(processes.read_file(f"/proc/{pid}/oom_score_adj", processes.STAT_BYTES))
    except ValueError:
        return 0


def send(pids: Iterable[int], number: signal.Signals) -> None:
    """Signal processes that may be gone."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue
