"""The process that outlives `kins up`: supervisor of the components and, on a node, pid 1 of its namespaces.

Run as `python -m kins.cluster.daemon`. Its standard input brings a `Request`; a line on standard output says that its
control socket listens. Reading the cluster's directory comes last so that the interpreter can start while the command
still probes the sandbox.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec

from kins.cluster import node_namespaces, store, user_namespace
from kins.cluster.boot import Boot
from kins.cluster.events import EventLog
from kins.cluster.spec import Record
from kins.cluster.stopping import end_containers
from kins.cluster.surroundings import raise_descriptor_limit
from kins.components import Layout
from kins.sandbox import Facts
from kins.supervise import control
from kins.sys import process


class Request(msgspec.Struct, frozen=True):
    """What the command writes to our standard input: the cluster's directory, the time (monotonic clock, seconds) when
    it was given, and inherited descriptors: the cluster's lock, kept until our pid is on the disk, and that of the one
    node, kept for ever."""

    directory: str
    began: float
    lock: int
    node_lock: int | None


class Daemon:
    """One cluster's daemon: boots it, answers questions about it, stops it."""

    def __init__(
        self, files: Layout, record: Record, facts: Facts | None, began: float, outside: socket.socket | None
    ) -> None:
        self._files = files
        self._outside = outside
        self._record = record
        self._events = EventLog()
        self._stop = asyncio.Event()
        self._halting: asyncio.Task[None] | None = None
        self._boot = Boot(files, record, facts, self._events, began)

    async def run(self) -> None:
        """Live until asked to stop."""
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._stop.set)
        if self._outside is not None:
            asyncio.get_running_loop().add_reader(self._outside, self._left_alone)
        server = await control.serve(self._files.control_socket, self._answer)
        print("listening", flush=True)
        _detach(self._files.supervisor_log)
        self._booting = asyncio.create_task(self._boot.run())
        self._booting.add_done_callback(_report)
        await self._stop.wait()
        self._booting.cancel()
        await self._boot.supervisor.stop()
        server.close()

    def _left_alone(self) -> None:
        """The process outside, which says nothing, has ended, and with it every way in and out."""
        assert self._outside is not None, "somebody is read from"
        asyncio.get_running_loop().remove_reader(self._outside)
        self._stop.set()

    async def _answer(self, call: str) -> AsyncIterator[Any]:
        name, _, argument = call.partition(" ")
        match name:
            case "build":
                await self._boot.builder.start(argument)
                yield "ready"
            case "events":
                async for event in self._events.follow():
                    yield event
            case "status":
                yield {"events": self._events.events, "components": self._boot.supervisor.status()}
            case "usage":
                yield self._boot.supervisor.measure()
            case "halt":
                # A task of its own: it goes on when whoever asked is gone.
                self._halting = self._halting or asyncio.create_task(self._halt())
                await asyncio.shield(self._halting)
            case "stop":
                self._stop.set()
            case "stopped":
                if self._halting is not None:
                    await asyncio.shield(self._halting)
                yield self._stop.is_set()

    async def _halt(self) -> None:
        """End containers as their pods ask for it, then everything."""
        self._booting.cancel()
        if self._record.decisions.level == "node":
            await end_containers(self._boot.supervisor, self._files)
        self._stop.set()


def _report(boot: asyncio.Task[None]) -> None:
    if not boot.cancelled() and (error := boot.exception()) is not None:
        print(f"boot failed: {error!r}", file=sys.stderr, flush=True)
        os.kill(os.getpid(), signal.SIGTERM)


def _detach(log: Path) -> None:
    """Leave the command's pipes: from here on we write to our own log only."""
    with open(log, "ab") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)


def _announce(files: Layout, pid: int) -> None:
    store.save(files.supervisor, store.ProcessRecord.of(pid))


def _announce_both(files: Layout, pid: int) -> None:
    """In the process that stays outside: first itself, for it goes on when the node's first one is found."""
    store.save(files.outside, store.ProcessRecord.of(os.getpid()))
    _announce(files, pid)


async def _serve(
    files: Layout, record: Record, facts: Facts | None, began: float, outside: socket.socket | None
) -> None:
    await Daemon(files, record, facts, began, outside).run()


def _enter(files: Layout, record: Record) -> socket.socket | None:
    """Become the first process of the node's namespaces; returns what tells the end of the one that stays outside."""
    name = record.settings.node_name
    if record.decisions.isolation == "sandbox":
        node_namespaces.enter(name, lambda pid: _announce(files, pid))
        return None
    if record.decisions.behind_relay:
        return user_namespace.enter(name, lambda pid: _announce_both(files, pid), files.outside_socket)
    return user_namespace.enter(name, lambda pid: _announce(files, pid), None)


def main() -> None:
    """Become the daemon of the cluster that standard input names."""
    line = sys.stdin.buffer.readline()
    if not line:
        return  # the command ended before it had a cluster for us
    request = msgspec.json.decode(line, type=Request)
    files = Layout(Path(request.directory))
    record = store.record(files)
    if record is None:
        sys.exit(f"{files.directory} holds no cluster")
    facts = store.load(files.facts, Facts)
    outside = None
    if record.decisions.level == "node":
        outside = _enter(files, record)
    else:
        _announce(files, os.getpid())
        if request.node_lock is not None:
            os.close(request.node_lock)
    os.close(request.lock)
    process.set_name("kins-supervisor")
    raise_descriptor_limit()
    asyncio.run(_serve(files, record, facts, request.began, outside))


if __name__ == "__main__":
    main()
