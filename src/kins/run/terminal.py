"""Which process group has the controlling terminal (tcsetpgrp(3))."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator

# Of the controlling terminal, whatever the standard streams are.
DEVICE = "/dev/tty"


def is_in_foreground() -> bool:
    """Whether our process group has the terminal; no without one."""
    with _terminal() as terminal:
        try:
            return terminal is not None and os.tcgetpgrp(terminal) == os.getpgrp()
        except OSError:
            return False


def give_to(group: int) -> None:
    """Let a process group have the terminal, if there is one and the group still is."""
    # Whoever is in the background and does this gets a signal that stops it.
    before = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    try:
        with _terminal() as terminal, contextlib.suppress(OSError):
            if terminal is not None:
                os.tcsetpgrp(terminal, group)
    finally:
        signal.signal(signal.SIGTTOU, before)


@contextlib.contextmanager
def _terminal() -> Iterator[int | None]:
    try:
        terminal = os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK)
    except OSError:
        yield None
        return
    try:
        yield terminal
    finally:
        os.close(terminal)
