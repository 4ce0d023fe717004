"""Progress of a long command: live on a terminal, plain lines in a pipe, nothing beside JSON."""

from __future__ import annotations

import os
import sys
from types import TracebackType
from typing import TYPE_CHECKING, Self

from kins.cli.output import is_json, talk

if TYPE_CHECKING:
    from rich.status import Status

    from kins.cluster.events import Event


class Progress:
    """Shows events. On a terminal a spinner says that something is under way."""

    def __init__(self, waiting_for: str) -> None:
        self._waiting_for = waiting_for
        self._spinner: Status | None = None

    def __enter__(self) -> Self:
        if sys.stderr.isatty() and not is_json() and os.environ.get("TERM") != "dumb":
            # rich costs 0.1 s of import: only where somebody looks
            from rich.console import Console

            self._spinner = Console(stderr=True, no_color=bool(os.environ.get("NO_COLOR"))).status(self._waiting_for)
            self._spinner.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._spinner is not None:
            self._spinner.stop()

    def __call__(self, event: Event) -> None:
        """Show one event."""
        if is_json() or event.phase == "failed":
            return
        line = f"{event.seconds:6.2f}s  {event.message}"
        if self._spinner is not None:
            self._spinner.console.print(line, highlight=False, markup=False)
        else:
            talk(line)
