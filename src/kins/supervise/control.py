"""How other processes talk to a supervisor: one JSON line asked, JSON lines answered, over a unix socket."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from kins.errors import KinsError

MAXIMUM_REQUEST = 64 * 1024
Handler = Callable[[str], AsyncIterator[Any]]


class Request(msgspec.Struct, frozen=True):
    """What is asked: the name of a call."""

    call: str


async def serve(path: Path, handler: Handler) -> asyncio.AbstractServer:
    """Answer requests on `path` with the values that `handler(call)` yields. The directory guards who may ask."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(
                ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError
            ):
                line = await reader.readuntil(b"\n")
                async for value in handler(msgspec.json.decode(line, type=Request).call):
                    writer.write(msgspec.json.encode(value) + b"\n")
                    await writer.drain()
        finally:
            writer.close()

    path.unlink(missing_ok=True)
    return await asyncio.start_unix_server(answer, path, limit=MAXIMUM_REQUEST)


def ask(path: Path, call: str, timeout: float) -> Iterator[Any]:
    """Ask a supervisor; yields its answers as decoded JSON until it closes the connection.

    Raises KinsError `supervisor-unreachable` when nobody listens or dies over an answer, `supervisor-silent` when no
    line comes for `timeout` s.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout)
        try:
            connection.connect(str(path))
            connection.sendall(msgspec.json.encode(Request(call)) + b"\n")
            with connection.makefile("rb") as lines:
                for line in lines:
                    yield msgspec.json.decode(line)
        except TimeoutError as error:
            raise KinsError(f"the supervisor did not answer within {timeout:g} s", code="supervisor-silent") from error
        except OSError as error:
            raise KinsError(f"the supervisor cannot be reached: {error}", code="supervisor-unreachable") from error
        except ValueError as error:  # msgspec's decoding errors are ones
            raise KinsError(f"the supervisor's answer is cut off: {error}", code="supervisor-unreachable") from error


def ask_one(path: Path, call: str, timeout: float) -> Any:
    """The first answer to a call. Raises KinsError as `ask` does, and `supervisor-unreachable` when there is none."""
    for answer in ask(path, call, timeout):
        return answer
    raise KinsError("the supervisor ended before it answered", code="supervisor-unreachable")
