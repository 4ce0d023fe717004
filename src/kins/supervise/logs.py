"""Component logs, kept within a size."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

MAXIMUM_BYTES = 10 * 1024 * 1024
CHECK_SECONDS = 10.0


class Rotation:
    """Copies a log that grew too large to `NAME.log.1` and truncates it.

    Components write to their log directly (no relay that could die or cost anything) and in append mode, so that a
    truncated file simply grows again from zero; lines written between copy and truncation are lost.
    """

    def __init__(self) -> None:
        self._logs: set[Path] = set()
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, log: Path) -> None:
        """Keep this log within the size from now on."""
        self._logs.add(log)
        if self._timer is None:
            self._check()

    def stop(self) -> None:
        """Watch no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _check(self) -> None:
        for log in self._logs:
            try:
                _rotate(log)
            except OSError as error:
                # Into the supervisor's own log. A full disk may have room again at the next look.
                print(f"{log} cannot be rotated: {error}", file=sys.stderr, flush=True)
        self._timer = asyncio.get_running_loop().call_later(CHECK_SECONDS, self._check)


def _rotate(log: Path) -> None:
    if log.exists() and log.stat().st_size > MAXIMUM_BYTES:
        shutil.copyfile(log, log.with_name(log.name + ".1"))
        os.truncate(log, 0)


def size(log: Path) -> int:
    """How many bytes a log has now; 0 when it is not there."""
    try:
        return log.stat().st_size
    except FileNotFoundError:
        return 0


def tail(log: Path, lines: int, end: int | None = None) -> list[str]:
    """The last lines of a log, or of what is before byte `end`; reads at most 64 KiB."""
    try:
        with open(log, "rb") as content:
            end = content.seek(0, os.SEEK_END) if end is None else end
            start = content.seek(max(0, end - 65536))
            return content.read(end - start).decode(errors="replace").splitlines()[-lines:]
    except FileNotFoundError:
        return []


def read_new(log: Path, position: int) -> Iterator[tuple[bytes, int]]:
    """What was written after byte `position`, in chunks with the position behind each; starts over after a
    truncation."""
    try:
        with open(log, "rb") as content:
            if content.seek(0, os.SEEK_END) < position:
                position = 0
            content.seek(position)
            while chunk := content.read(65536):
                position += len(chunk)
                yield chunk, position
    except FileNotFoundError:
        return
