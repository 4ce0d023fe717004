"""Where a test's commands run: this machine or a gVisor sandbox, seen alike."""

from __future__ import annotations

import base64
import json
import signal
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.harness.snapshot import PROGRAM, Snapshot

# Where the directory of image archives is seen inside.
IMAGES = "/images"

VARIABLES = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "TERM": "xterm",
}

# What else is different for the ordinary user of the trees.
USER_VARIABLES = {"HOME": "/home/user"}

# What Docker gives a container that asks for nothing.
DOCKER_CAPABILITIES = (
    "AUDIT_WRITE CHOWN DAC_OVERRIDE FOWNER FSETID KILL MKNOD NET_BIND_SERVICE NET_RAW SETFCAP SETGID SETPCAP SETUID "
    "SYS_CHROOT"
)
# The first process: reaps orphans, as the first process of every hosted sandbox does, and ends when it is told to.
INIT = """
import os, signal
awaited = {signal.SIGCHLD, signal.SIGTERM}
signal.pthread_sigmask(signal.SIG_BLOCK, awaited)
print("ready", flush=True)
while signal.sigwait(awaited) == signal.SIGCHLD:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass
"""

# How much longer than the command inside the caller waits for it: what it left running holds its pipes open.
PIPE_SECONDS = 10.0


class CommandFailed(AssertionError):
    """A command ended with another exit status than the test expects; the text holds all that it said."""


class Environment(ABC):
    """A Debian system of the test's own, from `with` to the end of the block; nothing of it is left after that."""

    name: str
    on_gvisor: bool

    @abstractmethod
    def start(self) -> None:
        """Boot it; on an error `stop` is called."""

    @abstractmethod
    def stop(self) -> None:
        """End every process in it and remove its files. Works at any state of `start`."""

    def restart(self) -> None:
        """As when the machine is switched off and on again: every process ends, and what is not in a file is gone. With
        an overlay in memory that is the files as well."""
        raise NotImplementedError(f"{self.name} cannot be restarted")

    def pause(self) -> None:
        """Have every process in it stand still; the clocks go on."""
        raise NotImplementedError(f"{self.name} cannot be paused")

    def resume(self) -> None:
        """End `pause`."""
        raise NotImplementedError(f"{self.name} cannot be paused")

    @abstractmethod
    def command(
        self, arguments: Sequence[str], *, user: int = 0, variables: Mapping[str, str] | None = None
    ) -> list[str]:
        """The command line that runs `arguments` inside; its exit status is theirs."""

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def run(
        self,
        arguments: Sequence[str],
        *,
        user: int = 0,
        variables: Mapping[str, str] | None = None,
        text: str = "",
        timeout: float = 60.0,
        check: bool = True,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, with `text` as its standard input.

        Raises CommandFailed when its status is not 0 (unless `check` is false), and when `timeout` seconds pass: then
        it is killed, with its process group. Also when something that it started keeps its output open: a command
        that returns in a terminal must return in a pipe too.
        """
        limited = ["timeout", "--signal=KILL", f"{timeout:g}", *arguments]
        command = self.command(limited, user=user, variables=variables)
        began = time.monotonic()
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace"
        ) as process:
            try:
                stdout, stderr = process.communicate(text, timeout + PIPE_SECONDS)
            except subprocess.TimeoutExpired as late:
                process.kill()
                said = b"".join(part for part in (late.stdout, late.stderr) if part).decode(errors="replace")
                raise CommandFailed(
                    f"{self.name}: {shown(arguments)}: its output stays open after {timeout:g} s\n{said}"
                ) from late
            except BaseException:
                process.kill()
                raise
        done = subprocess.CompletedProcess(list(arguments), exit_status(process.returncode), stdout, stderr)
        if time.monotonic() - began >= timeout:
            raise CommandFailed(f"{self.name}: {shown(arguments)}: killed after {timeout:g} s\n{stdout}{stderr}")
        if check and done.returncode != 0:
            raise CommandFailed(f"{self.name}: {shown(arguments)}: exit {done.returncode}\n{stdout}{stderr}")
        return done

    def output(self, *arguments: str, timeout: float = 60.0) -> str:
        """The standard output of a command that must succeed."""
        return self.run(arguments, timeout=timeout).stdout

    def kins(
        self, *arguments: str, user: int = 0, timeout: float = 60.0, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run kins, as root unless another user is given."""
        return self.run(["kins", *arguments], user=user, timeout=timeout, check=check)

    def kins_json(self, *arguments: str, user: int = 0, timeout: float = 60.0) -> Any:
        """The result of a kins command that must succeed, without its envelope."""
        envelope = json.loads(self.kins(*arguments, "--output", "json", user=user, timeout=timeout).stdout)
        assert envelope["ok"] is True, envelope
        return envelope["result"]

    def spawn(
        self, arguments: Sequence[str], *, user: int = 0, variables: Mapping[str, str] | None = None
    ) -> Background:
        """Start a command and return at once."""
        return Background(self, arguments, user, variables)

    def write(self, path: str, text: str) -> None:
        """Write a file inside."""
        self.run(["sh", "-c", 'cat > "$0"', path], text=text)

    def send(self, file: Path, path: str) -> None:
        """Copy a file of the machine inside."""
        self.run(["sh", "-c", 'base64 --decode > "$0"', path], text=base64.b64encode(file.read_bytes()).decode())

    def snapshot(self) -> Snapshot:
        """What the environment looks like now."""
        return Snapshot.from_json(self.run(["python3", "-c", PROGRAM]).stdout)

    def changes_since(self, before: Snapshot, *, ignoring: Sequence[str] = (), patience: float = 60.0) -> str:
        """How the environment differs from an earlier moment; empty if it does not. For `ignoring` see Snapshot.

        The kernel removes some things after the call that asked for it has returned (the links of a network
        namespace): a difference is one that is still there after `patience` seconds.
        """
        deadline = time.monotonic() + patience
        while (changes := before.difference(self.snapshot(), ignoring)) and time.monotonic() < deadline:
            time.sleep(0.2)
        return changes


class Background:
    """A command that goes on while the test does something else; the block's end kills it if it has not ended."""

    def __init__(
        self, environment: Environment, arguments: Sequence[str], user: int, variables: Mapping[str, str] | None
    ) -> None:
        self._environment = environment
        self._arguments = arguments
        # The first line is the pid inside: a runner's own end is not that of what it runs.
        announced = ["sh", "-c", 'echo $$; exec "$@"', "sh", *arguments]
        self.process = subprocess.Popen(
            environment.command(announced, user=user, variables=variables),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            # What a buffered stream had read ahead for `line`, `finish` would not see.
            bufsize=0,
        )
        self._unread = b""
        self.pid = int(self.line())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.kill(signal.SIGKILL)
        self.finish(timeout=30.0)

    def line(self) -> str:
        """The next line of output; an assertion error at its end. The test's own time limit bounds the wait."""
        assert self.process.stdout is not None
        while b"\n" not in self._unread:
            chunk = self.process.stdout.read(65536)
            assert chunk, f"{shown(self._arguments)}: its output ended\n{self._unread.decode(errors='replace')}"
            self._unread += chunk
        line, _, self._unread = self._unread.partition(b"\n")
        return line.decode(errors="replace")

    def line_with(self, wanted: str) -> str:
        """Read on until a line holds `wanted`, and return it."""
        while wanted not in (line := self.line()):
            pass
        return line

    def say(self, text: str) -> None:
        """Write to its standard input."""
        assert self.process.stdin is not None
        content = text.encode()
        while content:
            content = content[self.process.stdin.write(content) :]

    def kill(self, number: signal.Signals) -> None:
        """Send it a signal. It may be gone by now."""
        self._environment.run(["kill", f"-{number.value}", str(self.pid)], check=False)

    def finish(self, timeout: float) -> tuple[int, str]:
        """Wait for its end: exit status and the rest of the output."""
        try:
            rest, _ = self.process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired as late:
            # Not read to its end: what the command started may hold its output open.
            self.kill(signal.SIGKILL)
            self.process.kill()
            for stream in (self.process.stdin, self.process.stdout):
                assert stream is not None
                stream.close()
            self.process.wait()
            said = (self._unread + (late.stdout or b"")).decode(errors="replace")
            raise CommandFailed(f"{shown(self._arguments)}: does not end within {timeout:g} s\n{said}") from late
        return exit_status(self.process.returncode), (self._unread + rest).decode(errors="replace")


def exit_status(code: int) -> int:
    """An exit status as a shell says it, also where Python says -9 for a command that a signal ended."""
    return 128 - code if code < 0 else code


def variables_of(user: int, variables: Mapping[str, str] | None = None) -> dict[str, str]:
    """All environment variables of a command."""
    return {**VARIABLES, **(USER_VARIABLES if user else {}), **(variables or {})}


def as_user(user: int, arguments: Sequence[str]) -> list[str]:
    """The command line that runs `arguments` as a user, with no more privilege than after a login."""
    drop = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "--"] if user else []
    return [*drop, *arguments]


def with_capabilities(names: str, arguments: Sequence[str]) -> list[str]:
    """The command line that runs `arguments` with no other capabilities than those named, nor any way to others."""
    kept = ",".join(["-all", *(f"+{name.lower()}" for name in names.split())])
    return ["setpriv", f"--inh-caps={kept}", f"--bounding-set={kept}", "--", *arguments]


def shown(arguments: Sequence[str]) -> str:
    """A command line for a message, without the scripts that it may carry."""
    return " ".join(argument if len(argument) < 200 else f"{argument[:200]}…" for argument in arguments)


def image_binds(images: Path | None) -> dict[Path, str]:
    """What to bind where, for an environment that shall see image archives."""
    return {images: IMAGES} if images is not None else {}
