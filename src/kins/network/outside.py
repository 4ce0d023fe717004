"""The process that stays in the sandbox's network while the node is in another one, and gives it sockets of there.

A socket belongs to the network namespace that it was made in, whoever holds it (network_namespaces(7)): those inside
connect and accept with ours as if they were here. kins-egress asks (`network/internal/egress/outside.go`): one line
`tcp4 ADDRESS:PORT`, `udp4 ADDRESS:PORT` (both connected) or `listen ADDRESS:PORT` for each connection to our own
socket; the answer is `ok` with the socket (unix(7), SCM_RIGHTS), or `error` with a number of errno(3).
"""

from __future__ import annotations

import asyncio
import errno
import socket
from pathlib import Path

# As long as a kernel tries: 6 repetitions, Linux's tcp_syn_retries.
CONNECT_SECONDS = 127.0
REQUEST_SECONDS = 5.0
BREATH_SECONDS = 0.1
LONGEST_REQUEST = 256


def listen(path: Path) -> socket.socket:
    """The socket that is asked. Raises OSError."""
    path.unlink(missing_ok=True)
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    server.bind(str(path))
    server.listen(128)
    return server


def serve(server: socket.socket, lifeline: socket.socket) -> None:
    """Answer until the other end of `lifeline` is closed, which whoever is inside holds for its life."""
    asyncio.run(_serve(server, lifeline))


async def _serve(server: socket.socket, lifeline: socket.socket) -> None:
    server.setblocking(False)
    lifeline.setblocking(False)
    accepting = asyncio.create_task(_accept(server))
    ended = asyncio.create_task(asyncio.get_running_loop().sock_recv(lifeline, 1))
    # If no more can be accepted, our end tells it to those inside.
    await asyncio.wait((accepting, ended), return_when=asyncio.FIRST_COMPLETED)
    accepting.cancel()


async def _accept(server: socket.socket) -> None:
    async with asyncio.TaskGroup() as group:
        while True:
            try:
                connection, _ = await asyncio.get_running_loop().sock_accept(server)
            except OSError as error:
                if error.errno not in (errno.EMFILE, errno.ENFILE):
                    raise
                await asyncio.sleep(BREATH_SECONDS)  # until some of those that are being connected have an end
            else:
                group.create_task(_answer(connection))


async def _answer(connection: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    with connection:
        try:
            request = await asyncio.wait_for(loop.sock_recv(connection, LONGEST_REQUEST), REQUEST_SECONDS)
            with await _opened(request.decode()) as opened:
                socket.send_fds(connection, [b"ok\n"], [opened.fileno()])
        except OSError as error:
            # A connection that took too long has no number (asyncio's TimeoutError).
            await _refuse(connection, error.errno or errno.ETIMEDOUT)
        except (ValueError, OverflowError):  # the latter for a port that is none
            await _refuse(connection, errno.EINVAL)


async def _refuse(connection: socket.socket, number: int) -> None:
    try:
        await asyncio.get_running_loop().sock_sendall(connection, f"error {number}\n".encode())
    except OSError:
        return  # who asked is gone


async def _opened(request: str) -> socket.socket:
    """The socket that a request is for. Raises OSError, and ValueError for what is no request."""
    kind, place = request.split()
    host, _, port = place.rpartition(":")
    address = (host, int(port))
    if kind == "listen":
        return socket.create_server(address, family=socket.AF_INET, backlog=1024)
    kinds = {"tcp4": socket.SOCK_STREAM, "udp4": socket.SOCK_DGRAM}
    if kind not in kinds:
        raise ValueError(kind)
    made = socket.socket(socket.AF_INET, kinds[kind])
    try:
        made.setblocking(False)
        await asyncio.wait_for(asyncio.get_running_loop().sock_connect(made, address), CONNECT_SECONDS)
    except BaseException:
        made.close()
        raise
    return made
