"""What the daemon tells those who wait for a cluster."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened, `seconds` after the start of the command that asked for the cluster.

    `phase` is a stable word; `ready` and `failed` are the last ones. `code` and `hint` belong to `failed`.
    """

    phase: str
    seconds: float
    message: str
    code: str | None = None
    hint: str | None = None

    @property
    def is_last(self) -> bool:
        """Whether nothing follows."""
        return self.phase in ("ready", "failed")


class EventLog:
    """Events so far, for late listeners too."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._news = asyncio.Condition()

    async def add(self, event: Event) -> None:
        """Tell an event to everyone; nothing follows a last one."""
        if self.finished:
            return
        self.events.append(event)
        async with self._news:
            self._news.notify_all()

    @property
    def finished(self) -> bool:
        """Whether the last event was told."""
        return bool(self.events) and self.events[-1].is_last

    async def follow(self) -> AsyncIterator[Event]:
        """All events from the first to the last one."""
        position = 0
        while True:
            for event in self.events[position:]:
                position += 1
                yield event
            if self.finished and position == len(self.events):
                return
            async with self._news:
                await self._news.wait_for(lambda seen=position: len(self.events) > seen)  # type: ignore[misc]
