"""A component as data."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec


class Component(msgspec.Struct, frozen=True, kw_only=True):
    """One long-running process.

    `launcher` is put before `argv` to start it, and becomes it. `environment` is the whole environment of the process,
    not an addition to ours. `readiness` says how it tells that it serves: `notify` by sd_notify(3), `started` by being
    there. `needs` names the components that it talks to, which it waits for by itself. `stop_rank` orders the stop:
    lower ranks are stopped first. `binds_to` names a component that it must not outlive: it is killed as soon as that
    one dies, and started when that one serves again (BindsTo= and After= in systemd.unit(5)).
    """

    name: str
    argv: tuple[str, ...]
    environment: dict[str, str]
    log: Path
    launcher: tuple[str, ...] = ()
    readiness: Literal["notify", "started"] = "started"
    needs: tuple[str, ...] = ()
    stop_rank: int = 0
    binds_to: str | None = None


class ComponentStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a component's process. `pid` is the supervisor's view, seconds and bytes are SI units."""

    name: str
    state: Literal["starting", "ready", "waiting-to-restart", "stopped"]
    pid: int | None
    uptime_seconds: float
    restarts: int
    memory_bytes: int
    last_exit: str | None
    argv: tuple[str, ...]
