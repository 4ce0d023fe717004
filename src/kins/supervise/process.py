"""One supervised process: start, notice of readiness, death, restart with capped back-off."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from kins.supervise import usage
from kins.supervise.component import Component, ComponentStatus
from kins.sys import process as kernel

FIRST_DELAY = 0.25
LONGEST_DELAY = 10.0
# A process that lived this long was healthy: its next death starts the back-off anew.
HEALTHY_AFTER = 30.0


class SupervisedProcess:
    """The life of one component. Lives in the event loop's thread; `on_change` is called after every change of
    state."""

    def __init__(self, component: Component, runtime: Path, on_change: Callable[[SupervisedProcess], None]) -> None:
        self.component = component
        self.restarts = 0
        self.last_exit: str | None = None
        self.ready = False
        self.pid: int | None = None
        self.gone = asyncio.Event()
        self.gone.set()
        self._started_at = 0.0
        self._failures = 0
        self._stopping = False
        self._held = False
        self._restart: asyncio.TimerHandle | None = None
        self._on_change = on_change
        self._notify_path = runtime / f"notify-{component.name}.sock"
        self._notify = _listen(self._notify_path) if component.readiness == "notify" else None

    def start(self) -> None:
        """Start the process now."""
        self._restart = None
        component = self.component
        environment = dict(component.environment)
        if self._notify is not None:
            environment["NOTIFY_SOCKET"] = str(self._notify_path)
            asyncio.get_running_loop().add_reader(self._notify, self._read_notice)
        with open(component.log, "ab") as log:
            try:
                child = subprocess.Popen(
                    (*component.launcher, *component.argv),
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd="/",
                    start_new_session=True,
                    preexec_fn=_die_with_supervisor,  # noqa: PLW1509  # one system call, no lock
                )
            except OSError as error:
                self.last_exit = f"could not be started: {error}"
                self._schedule_restart()
                return
        # The supervisor reaps every child itself (it may be the pid namespace's init): Popen must not wait on its own.
        child.returncode = 0
        self.pid = child.pid
        self._started_at = time.monotonic()
        self.gone.clear()
        self.ready = self._notify is None
        self._on_change(self)

    def died(self, wait_status: int) -> None:
        """Told by the supervisor, which has reaped the process. `wait_status` as of waitpid(2)."""
        code = os.waitstatus_to_exitcode(wait_status)
        self.last_exit = f"exit code {code}" if code >= 0 else f"signal {_signal_name(-code)}"
        if time.monotonic() - self._started_at > HEALTHY_AFTER:
            self._failures = 0
        self.pid = None
        self.ready = False
        self.gone.set()
        if self._held:
            self.restarts += 1
        if self._stopping or self._held:
            self._on_change(self)
        else:
            self._schedule_restart()

    def _schedule_restart(self) -> None:
        delay = min(FIRST_DELAY * 2**self._failures, LONGEST_DELAY)
        self._failures += 1
        self.restarts += 1
        self._restart = asyncio.get_running_loop().call_later(delay, self.start)
        self._on_change(self)

    def _cancel_restart(self) -> None:
        if self._restart is not None:
            self._restart.cancel()
            self._restart = None

    @property
    def failures(self) -> int:
        """Deaths in a row without a healthy life between them."""
        return self._failures

    async def stop(self, grace: float) -> None:
        """SIGTERM, then SIGKILL after `grace` seconds; returns when the process is reaped."""
        self._stopping = True
        self._cancel_restart()
        if self.pid is not None:
            _signal(self.pid, signal.SIGTERM)
            try:
                await asyncio.wait_for(self.gone.wait(), grace)
            except TimeoutError:
                _signal(self.pid, signal.SIGKILL)
                await self.gone.wait()
        if self._notify is not None:
            asyncio.get_running_loop().remove_reader(self._notify)
            self._notify.close()
            self._notify_path.unlink(missing_ok=True)
            self._notify = None

    def hold(self) -> None:
        """SIGKILL, where it runs, and no start before `release`. It is no failure of its own."""
        self._held = True
        self._cancel_restart()
        if self.pid is not None:
            _signal(self.pid, signal.SIGKILL)

    def release(self) -> None:
        """End `hold`: it is started now, or by the notice of its death if that is still to come."""
        if not self._held:
            return
        self._held = False
        if self.pid is None and not self._stopping:
            self.start()

    def suspend(self) -> None:
        """SIGSTOP, where it runs."""
        if self.pid is not None:
            _signal(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT, where it runs."""
        if self.pid is not None:
            _signal(self.pid, signal.SIGCONT)

    def status(self, found: Iterable[usage.Process] | None = None) -> ComponentStatus:
        """The component as it is now, by all processes that there are: `found`, if somebody has read them already."""
        state = "ready" if self.ready else "starting"
        if self.pid is None:
            state = "stopped" if self._stopping else "waiting-to-restart"
        return ComponentStatus(
            name=self.component.name,
            state=state,  # type: ignore[arg-type]  # one of the literals above
            pid=self.pid,
            uptime_seconds=round(time.monotonic() - self._started_at, 1) if self.pid else 0.0,
            restarts=self.restarts,
            memory_bytes=sum(
                each.memory_bytes for each in self._programs(usage.processes() if found is None else found).values()
            ),
            last_exit=self.last_exit,
            argv=self.component.argv,
        )

    def measure(self, found: Iterable[usage.Process]) -> usage.ComponentUsage:
        """What it uses now, by all processes that there are."""
        return usage.ComponentUsage(
            name=self.component.name,
            pid=self.pid,
            restarts=self.restarts,
            last_exit=self.last_exit,
            programs=self._programs(found),
        )

    def _programs(self, found: Iterable[usage.Process]) -> dict[str, usage.Figures]:
        # It leads a session, and therefore a process group.
        return usage.by_program(found, self.pid) if self.pid is not None else {}

    def _read_notice(self) -> None:
        assert self._notify is not None
        try:
            notice = self._notify.recv(4096)
        except BlockingIOError:
            return
        if b"READY=1" in notice.split(b"\n") and self.pid is not None and not self.ready:
            self.ready = True
            self._on_change(self)


def _die_with_supervisor() -> None:
    # Without a pid namespace nothing else ends the components when the supervisor is killed with SIGKILL.
    kernel.set_parent_death_signal(signal.SIGKILL)


def _listen(path: Path) -> socket.socket:
    """The datagram socket of sd_notify(3)."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    listener.bind(str(path))
    return listener


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # most real-time signals have none
        return str(number)


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
