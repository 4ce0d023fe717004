"""Threads that work side by side until they are told to stop, and whose defects are not lost."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Workers:
    """Threads of one watch. They are daemons: one that waits in the network must not keep the program from ending."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._errors: list[Exception] = []

    @property
    def stopping(self) -> bool:
        """Whether the work is to end."""
        return self._stop.is_set()

    def pause(self, seconds: float) -> bool:
        """Wait, shorter if the work is to end; whether it goes on."""
        return not self._stop.wait(max(seconds, 0.0))

    def start(self, work: Callable[[Workers], None]) -> None:
        """Have something done in a thread; it looks at `stopping`."""

        def guarded() -> None:
            try:
                work(self)
            except Exception as error:
                self._errors.append(error)

        thread = threading.Thread(target=guarded, daemon=True)
        self._threads.append(thread)
        thread.start()

    def check(self) -> None:
        """Raise what a thread died of."""
        if self._errors:
            raise self._errors[0]

    def stop(self, patience: float) -> None:
        """Tell all to end, and wait up to `patience` s for each."""
        self._stop.set()
        for thread in self._threads:
            thread.join(patience)
