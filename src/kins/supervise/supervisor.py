"""The process table."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path

from kins.supervise import usage
from kins.supervise.component import Component, ComponentStatus
from kins.supervise.logs import Rotation
from kins.supervise.process import SupervisedProcess

STOP_GRACE = 3.0


class Supervisor:
    """Starts components, restarts what dies, reaps orphans, stops in order. Lives in one event loop."""

    def __init__(self, runtime: Path, on_change: Callable[[SupervisedProcess], None]) -> None:
        self._runtime = runtime
        self._on_change = on_change
        self._processes: dict[str, SupervisedProcess] = {}
        self._jobs: dict[int, asyncio.Future[int]] = {}
        self._rotation = Rotation()
        asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, self._reap)

    def start(self, component: Component) -> None:
        """Start a component and keep it running from now on."""
        supervised = SupervisedProcess(component, self._runtime, self._changed)
        self._processes[component.name] = supervised
        self._rotation.watch(component.log)
        if component.binds_to is not None and not self._serves(component.binds_to):
            supervised.hold()
        else:
            supervised.start()

    async def run_job(self, argv: list[str], environment: dict[str, str], log: Path) -> int:
        """Run a command to its end; returns its exit code (negative: the signal that ended it)."""
        with open(log, "ab") as output:
            descriptors = [(os.POSIX_SPAWN_DUP2, output.fileno(), 1), (os.POSIX_SPAWN_DUP2, output.fileno(), 2)]
            pid = os.posix_spawn(argv[0], argv, environment, file_actions=descriptors)
        self._jobs[pid] = asyncio.get_running_loop().create_future()
        # It cannot have been reaped as an orphan before this: SIGCHLD is handled in this very loop.
        return await self._jobs[pid]

    def status(self) -> list[ComponentStatus]:
        """Every component in the order of its start."""
        found = usage.processes()
        return [supervised.status(found) for supervised in self._processes.values()]

    def measure(self) -> usage.Usage:
        """What everything uses now."""
        found = usage.processes()
        return usage.Usage(
            components=tuple(supervised.measure(found) for supervised in self._processes.values()),
            supervisor=usage.alone(found, os.getpid()),
            processes=len(found),
            mounts=usage.mounts(),
        )

    def process(self, name: str) -> SupervisedProcess | None:
        """The component's process, or None when it was never started."""
        return self._processes.get(name)

    async def end(self, name: str) -> None:
        """Stop a component before the others, for good; one that is not there will not be."""
        if name in self._processes:
            await self._processes[name].stop(STOP_GRACE)
            del self._processes[name]

    @contextlib.contextmanager
    def suspended(self, *names: str) -> Iterator[None]:
        """Stop (SIGSTOP) components for as long as the block takes; those that are not there are left out.

        A timer that ran out meanwhile fires at once when they go on: a component that looks for something once a
        second, and would not find it during the block, finds it at the block's end instead of up to a second later.
        """
        chosen = [self._processes[name] for name in names if name in self._processes]
        for each in chosen:
            each.suspend()
        try:
            yield
        finally:
            for each in chosen:
                each.resume()

    async def stop(self) -> None:
        """Stop all: rank by rank, the ones of a rank together."""
        self._rotation.stop()
        ranked = sorted(self._processes.values(), key=lambda supervised: supervised.component.stop_rank)
        for _, group in groupby(ranked, key=lambda supervised: supervised.component.stop_rank):
            await asyncio.gather(*(supervised.stop(STOP_GRACE) for supervised in group))

    def _serves(self, name: str) -> bool:
        return name in self._processes and self._processes[name].ready

    def _changed(self, supervised: SupervisedProcess) -> None:
        for each in self._processes.values():
            if each.component.binds_to != supervised.component.name:
                continue
            if supervised.ready:
                each.release()
            else:
                each.hold()
        self._on_change(supervised)

    def _reap(self) -> None:
        """Collect every dead child, container shims and other orphans of the pid namespace included."""
        while True:
            try:
                pid, wait_status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            job = self._jobs.pop(pid, None)
            if job is not None:
                if not job.done():  # whoever waited for it may have been cancelled
                    job.set_result(os.waitstatus_to_exitcode(wait_status))
                continue
            for supervised in self._processes.values():
                if supervised.pid == pid:
                    supervised.died(wait_status)
                    break
