"""The API server's client of a boot, which goes on asking: the server may be away for a while, or refuse at first."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import TypeVar

from kins.cluster.api import ApiClient
from kins.components import Layout, Settings
from kins.components.objects import ApiObject

Argument = TypeVar("Argument")
# How long one watch lasts before it is made anew; the waiting itself is bounded by whoever waits.
WATCH_SECONDS = 30
# /readyz offers no event; the API server in gVisor takes about two seconds from its first answer to ready.
READYZ_INTERVAL = 0.05
# How long the API server may take for one request, and until when after it is ready it is asked again: for what the
# cluster's readiness waits for, and for what comes after that.
ANSWER_SECONDS = 5.0
INSIST_SECONDS = 15.0
INSIST_LATE_SECONDS = 300.0
LONGEST_PAUSE = 1.0


class InsistentClient:
    """Made before there are certificates; asked when they are there."""

    def __init__(self, files: Layout, settings: Settings) -> None:
        self._files = files
        self._settings = settings
        self._ready_since: float | None = None  # the API server, by the monotonic clock

    @cached_property
    def once(self) -> ApiClient:
        """What asks once. One for all requests: each new one reads the certificates."""
        return ApiClient(self._files, self._settings)

    async def until_ready(self) -> None:
        """Wait until the API server says that it is ready."""
        while not await asyncio.to_thread(self.once.is_ready, ANSWER_SECONDS):
            await asyncio.sleep(READYZ_INTERVAL)
        self._ready_since = time.monotonic()

    async def put_all(self, objects: Iterable[ApiObject]) -> None:
        """Bring each object there; see `put`."""
        for each in objects:
            await self.put(each)

    async def put(self, wanted: ApiObject, seconds: float = INSIST_SECONDS) -> None:
        """Bring an object to the API server, which may be away for a while or still refuse everything.

        One that goes on refusing is not waited for: a user's webhook may stand in the way that is served by a pod,
        which comes when the cluster is up. An earlier start has then made the object long since.
        """
        await self._insist(self.once.put, wanted, seconds)

    async def remove(self, path: str) -> None:
        """Take an object away, if it is there; one that is refused for long stays."""
        await self._insist(self.once.remove, path, INSIST_SECONDS)

    async def until(self, collection: str, name: str, wanted: Callable[[dict[str, object]], bool]) -> None:
        """Wait until an object is as wanted. A broken watch (the API server died) is made anew."""
        client = self.once

        def watch_once() -> bool:
            try:
                return any(wanted(found) for found in client.watch(collection, name, WATCH_SECONDS))
            except OSError:
                return False

        while not await asyncio.to_thread(watch_once):
            await asyncio.sleep(READYZ_INTERVAL)

    async def _insist(self, request: Callable[[Argument, float], None], argument: Argument, seconds: float) -> None:
        """Make a request until it succeeds, or fails so many seconds after the API server was ready (counted once for
        all requests: many refusals must not add up)."""
        pause = READYZ_INTERVAL
        while True:
            try:
                return await asyncio.to_thread(request, argument, ANSWER_SECONDS)
            except OSError as error:
                if self._ready_since is not None:
                    if time.monotonic() - self._ready_since > seconds:
                        return print(f"error: {error}", file=sys.stderr, flush=True)
                    pause = min(2 * pause, LONGEST_PAUSE)
            await asyncio.sleep(pause)
