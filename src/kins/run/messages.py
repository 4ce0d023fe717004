"""What the command's first process and `kins run` tell each other, over a socket pair.

Downwards each byte is a signal for the command. Upwards come JSON lines.
"""

from __future__ import annotations

import signal
from typing import Self

import msgspec

from kins.errors import KinsError, as_kins_error

# Added to SIGCONT: the command is to have the terminal.
FOREGROUND = 128
# What is passed on to the command; what a terminal's keys send, its process group gets from the terminal.
PASSED_ON = (
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTERM,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGALRM,
    signal.SIGCONT,
    signal.SIGWINCH,
)


class Stopped(msgspec.Struct, frozen=True, tag=True):
    """The command was stopped by a signal, as by Ctrl-Z."""


class Failed(msgspec.Struct, frozen=True, tag=True):
    """There will be no command: why, as a KinsError says it."""

    message: str
    code: str
    hint: str | None

    @classmethod
    def of(cls, error: KinsError | OSError) -> Self:
        """What is told of an error."""
        told = as_kins_error(error)
        return cls(told.message, told.code, told.hint)


Message = Stopped | Failed


def encode(message: Message) -> bytes:
    """A line."""
    return msgspec.json.encode(message) + b"\n"


def decode(line: bytes) -> Message:
    """What `encode` made."""
    message: Message = msgspec.json.decode(line, type=Message)
    return message
