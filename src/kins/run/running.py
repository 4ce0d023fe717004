"""`kins run` itself: prepares nothing and runs nothing, but asks the sandbox, and stands for the command outside.

Three processes: this one, which passes signals on, ends as the command does and undoes the steps; the environment's pid
1 (`kins.run.first_process`); and between them its parent, which knows when the kernel has emptied the environment, also
when this one was killed. In a user namespace there are two more: the one that has made it, and one outside, which gives
sockets of the sandbox's network (`kins.run.relay`).
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

import msgspec

from kins import intercept
from kins.cgroupfs import READERS_ENVIRONMENT
from kins.cluster import home_directory
from kins.cluster.node_namespaces import hold_node_lock
from kins.components.kubelet import program_texts
from kins.errors import KinsError
from kins.network import proxy
from kins.run import first_process, isolation, relay, servers, terminal
from kins.run.environment import Request, environment_steps, shortcomings
from kins.run.isolation import Grounds
from kins.run.messages import FOREGROUND, PASSED_ON, Failed, decode, encode
from kins.run.places import make_kept
from kins.run.remains import RunFiles, new_run
from kins.run.tracing import emulates_control_groups, rules
from kins.sandbox import Answer, Facts, probe
from kins.sys import process

# Tells the command and its children that this is such an environment.
VARIABLE = "KINS_RUN"


def run(request: Request, warn: Callable[[str], None]) -> int:
    """Run a command in the prepared environment; its exit status, 128 and more for a signal. Raises KinsError, and
    leaves nothing behind then. `warn` gets sentences on what the sandbox cannot give."""
    request.validate()
    with hold_node_lock(), new_run() as files:
        grounds = isolation.choose(probe(home_directory.path()))
        for sentence in shortcomings(grounds):
            warn(sentence)
        if not request.interception:
            grounds = _without_interception(grounds)
        if grounds.relayed:
            relay.check_published(request.published)
        if request.data is not None:
            make_kept(request.data, request.writable)
        _add_programs(files, grounds.facts)
        return _Front(files, request, grounds).run()


def _without_interception(grounds: Grounds) -> Grounds:
    refused = Answer(False, "--no-intercept")
    return msgspec.structs.replace(grounds, facts=msgspec.structs.replace(grounds.facts, interception=refused))


def _add_programs(files: RunFiles, facts: Facts) -> None:
    """Give the command a mount(8) and umount(8) where the sandbox has none that a kubelet can call."""
    missing = [name for name, found in facts.programs.items() if not found]
    if missing:
        files.programs.mkdir()
        for name, text in program_texts(missing, lazy=False).items():
            (files.programs / name).write_text(text)
            (files.programs / name).chmod(0o755)
        os.environ["PATH"] = f"{files.programs}:{':'.join(os.get_exec_path())}"


class _Front:
    """The process that stands for the command."""

    def __init__(self, files: RunFiles, request: Request, grounds: Grounds) -> None:
        self._files = files
        self._grounds = grounds
        self._published = request.published
        self._steps = environment_steps(files, request, grounds)
        intercepted = rules(grounds.facts, files.kernel_settings)
        files.rules.write_bytes(intercept.encode(intercepted))
        self._argv = intercept.command_line(request.command, str(files.rules)) if intercepted else request.command
        self._shown = terminal.is_in_foreground()
        self._control, self._theirs = socket.socketpair()

    def run(self) -> int:
        """Until the environment has ended. Raises KinsError where it could not be made."""
        handled = {number: signal.getsignal(number) for number in PASSED_ON}
        guardian = os.fork()
        if guardian == 0:
            self._guard()
        self._theirs.close()
        # What the caller ignores (nohup, a shell's background job) stays ignored.
        for number in (each for each, before in handled.items() if before is not signal.SIG_IGN):
            signal.signal(number, self._pass_on)
        try:
            self._listen()
        finally:
            self._control.close()
            _, status = os.waitpid(guardian, 0)
            if self._shown:
                terminal.give_to(os.getpgrp())
            for number, before in handled.items():
                signal.signal(number, before)
        return process.shell_status(status)

    def _guard(self) -> NoReturn:
        """In the process between: its child is pid 1 in there, and when it has ended, so has everything."""
        self._control.close()
        for number in (*PASSED_ON, signal.SIGPIPE):
            if signal.getsignal(number) is not signal.SIG_IGN and number != signal.SIGCONT:
                signal.signal(number, _do_nothing)
        try:
            if self._grounds.relayed:
                relay.stay_outside(self._files.outside)
            pid = isolation.fork(self._grounds)
        except OSError as error:
            self._theirs.send(encode(Failed.of(error)))
            os._exit(1)
        if pid == 0:
            first_process.run(self._theirs, self._prepare, self._become, shown=self._shown)
        self._theirs.close()
        os._exit(isolation.exit_status(pid))

    def _prepare(self) -> None:
        """In pid 1 of the environment. Raises KinsError."""
        files = self._files
        files.journal.execute(self._steps)
        if self._grounds.relayed:
            relay.lead(files.outside, files.pods, self._published, files.directory)
        if emulates_control_groups(self._grounds.facts):
            servers.start_control_groups(files.directory)

    def _become(self) -> NoReturn:
        """In the command's process. Raises OSError."""
        os.environ[VARIABLE] = "1"
        if self._grounds.relayed:
            os.environ |= proxy.led_outside(os.environ)
        if emulates_control_groups(self._grounds.facts):
            os.environ |= READERS_ENVIRONMENT
        try:
            os.execvp(self._argv[0], self._argv)
        except OSError as error:
            # Not of the last directory of PATH that was tried, but of the name that was given.
            error.filename = self._argv[0]
            raise

    def _listen(self) -> None:
        with self._control.makefile("rb") as lines:
            for line in lines:
                message = decode(line)
                if isinstance(message, Failed):
                    raise KinsError(message.message, code=message.code, hint=message.hint)
                self._stop()

    def _stop(self) -> None:
        """The command is stopped: so are we, for whoever looks after us; and with us it goes on."""
        if self._shown:
            terminal.give_to(os.getpgrp())
        os.kill(os.getpid(), signal.SIGSTOP)

    def _pass_on(self, number: int, _: FrameType | None) -> None:
        if number == signal.SIGCONT:
            self._shown = terminal.is_in_foreground()
            number |= FOREGROUND if self._shown else 0
        with contextlib.suppress(OSError):  # it fails when the command has just ended
            self._control.send(bytes([number]))


def _do_nothing(_: int, __: FrameType | None) -> None:
    """A handler: unlike an ignored signal, it is the default again in the command."""
