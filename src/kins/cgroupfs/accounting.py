"""Who is charged for which CPU time.

/proc tells what each living process has used, and of those that have ended only what their parents waited for. So a
parent's `reaped` times are compared with what its children were last seen with: the rest is what they used after that,
and belongs to their groups, not to the parent's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from kins.cgroupfs.model import Group
from kins.cgroupfs.processes import NANOSECONDS_PER_TICK, ProcessStat

Groups = dict[str, Group]
# How long the time of an ended process may take to appear in its parent's: parents that do not wait never have it.
UNCLAIMED_SECONDS = 10.0


@dataclass
class Ended:
    """What an ended process was last seen with, in ticks, and when it was found missing."""

    groups: Groups
    user: int
    system: int
    at: float


class Accounting:
    """Charges the groups of some hierarchies with what their processes use."""

    def __init__(self, charged: Iterable[str], processors: int) -> None:
        self._charged = tuple(charged)
        self._processors = processors
        self._unclaimed: dict[int, list[Ended]] = {}

    def ended(self, last: ProcessStat, parent: int, groups: Groups, now: float) -> None:
        """A process has ended; `parent` is who has waited or will wait for it."""
        user, system = last.user + last.reaped_user, last.system + last.reaped_system
        self._unclaimed.setdefault(parent, []).append(Ended(groups, user, system, now))

    def ran(self, before: ProcessStat | None, stat: ProcessStat, groups: Groups) -> None:
        """A process was seen again, or for the first time: then all that it used is new."""
        user = stat.user - (before.user if before else 0)
        system = stat.system - (before.system if before else 0)
        self._charge(groups, stat.processor, user, system)
        user = stat.reaped_user - (before.reaped_user if before else 0)
        system = stat.reaped_system - (before.reaped_system if before else 0)
        if user or system:
            self._charge_reaped(stat, groups, user, system)

    def expire(self, now: float) -> None:
        """Give up on parents that do not wait."""
        for parent, children in list(self._unclaimed.items()):
            left = [child for child in children if now - child.at < UNCLAIMED_SECONDS]
            if left:
                self._unclaimed[parent] = left
            else:
                del self._unclaimed[parent]

    def _charge_reaped(self, stat: ProcessStat, groups: Groups, user: int, system: int) -> None:
        for child in self._unclaimed.pop(stat.pid, ()):
            groups = child.groups
            user, system = user - child.user, system - child.system
        self._charge(groups, stat.processor, max(user, 0), max(system, 0))

    def _charge(self, groups: Groups, processor: int | None, user: int, system: int) -> None:
        if user <= 0 and system <= 0:
            return
        user, system = user * NANOSECONDS_PER_TICK, system * NANOSECONDS_PER_TICK
        for name in self._charged:
            usage = groups[name].usage
            if processor is not None:
                usage.charge(processor, user, system)
                continue
            # Where the kernel does not say which processor it was, all of them have worked alike.
            for each in range(self._processors):
                usage.charge(each, user // self._processors, system // self._processors)
