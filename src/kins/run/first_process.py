"""Pid 1 of the environment: prepares it, starts the command, reaps orphans, and ends with the command.

Its end is the end of everything in the environment. It ends too when the socket to `kins run` closes.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
from collections.abc import Callable
from typing import NoReturn

from kins.errors import KinsError
from kins.run import terminal
from kins.run.messages import FOREGROUND, Failed, Message, Stopped, encode
from kins.sys import process

# As a shell and env(1) have them.
NOT_EXECUTABLE = 126
NOT_FOUND = 127
KILLED = 128 + signal.SIGKILL


def run(
    control: socket.socket, prepare: Callable[[], None], become: Callable[[], NoReturn], *, shown: bool
) -> NoReturn:
    """Prepare and run; `become` executes the command and does not return. With `shown` it gets the terminal."""
    process.set_parent_death_signal(signal.SIGKILL)
    process.set_name("kins-run")
    try:
        prepare()
    except (KinsError, OSError) as error:
        control.send(encode(Failed.of(error)))
        os._exit(1)
    os._exit(_Command(control, become, in_foreground=shown).wait())


class _Command:
    """The command's process, and what comes for it."""

    def __init__(self, control: socket.socket, become: Callable[[], NoReturn], *, in_foreground: bool) -> None:
        self._control = control
        self._woken, wake = os.pipe()
        os.set_blocking(self._woken, False)
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self.pid = os.fork()
        if self.pid == 0:
            signal.set_wakeup_fd(-1)
            _start(become, in_foreground=in_foreground)

    def wait(self) -> int:
        """Until it ends; its exit status as a shell says it."""
        while True:
            status = self._reap()
            if status is not None:
                return status
            ready, _, _ = select.select([self._control.fileno(), self._woken], [], [])
            if self._woken in ready:
                os.read(self._woken, 512)
            if self._control.fileno() in ready:
                numbers = self._control.recv(64)
                if not numbers:
                    return KILLED
                for number in numbers:
                    self._pass_on(number)

    def _reap(self) -> int | None:
        """Take all that have ended, the command's own children's orphans too; the command's status when it has."""
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED)
            if pid == 0:
                return None
            if pid != self.pid:
                continue
            if not os.WIFSTOPPED(status):
                return process.shell_status(status)
            self._tell(Stopped())

    def _tell(self, message: Message) -> None:
        self._control.send(encode(message))

    def _pass_on(self, number: int) -> None:
        if number & FOREGROUND:
            terminal.give_to(self.pid)
        try:
            if number & ~FOREGROUND == signal.SIGCONT:
                os.killpg(self.pid, signal.SIGCONT)
            else:
                os.kill(self.pid, number)
        except ProcessLookupError:
            pass  # it has just ended, as the next look will say


def _start(become: Callable[[], NoReturn], *, in_foreground: bool) -> NoReturn:
    """In the command's process: a process group of its own, one that can be named in here, as shells want it."""
    os.setpgid(0, 0)
    if in_foreground:
        terminal.give_to(os.getpid())
    # Python ignores these two, and what is ignored stays so across exec: `COMMAND | head` would not end.
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    try:
        become()
    except OSError as error:
        print(f"kins run: {error}", file=sys.stderr, flush=True)
        os._exit(NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_EXECUTABLE)
