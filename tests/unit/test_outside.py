"""The process that gives sockets of the sandbox's network away, and addresses that lead to it."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from kins.network import outside
from kins.network.addresses import of_outer_loopback
from kins.network.proxy import led_outside
from kins.sys import process


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """The socket of a process that serves, and that ends when the test does."""
    with serving(tmp_path / "outside.sock") as path:
        yield path


@contextlib.contextmanager
def serving(path: Path, descriptors: int = 256) -> Iterator[Path]:
    """Such a process, which may have so many open files, and has none of the test's."""
    server = outside.listen(path)
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        try:
            _serve(server, ours, descriptors)
        finally:
            os._exit(8)  # whatever happens: a second pytest would go on from here
    ours.close()
    server.close()
    yield path
    theirs.close()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7


def _serve(server: socket.socket, lifeline: socket.socket, descriptors: int) -> None:
    process.close_others({0, 1, 2, server.fileno(), lifeline.fileno()})
    resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))
    outside.serve(server, lifeline)
    os._exit(7)


def ask(path: Path, request: str) -> tuple[str, socket.socket | None]:
    """The answer in words, and the socket that came with it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        asking.settimeout(10)
        asking.connect(str(path))
        asking.sendall(f"{request}\n".encode())
        said, descriptors, _, _ = socket.recv_fds(asking, 64, 1)
    return said.decode().strip(), socket.socket(fileno=descriptors[0]) if descriptors else None


def test_connected(place: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        said, given = ask(place, f"tcp4 127.0.0.1:{server.getsockname()[1]}")
        assert said == "ok"
        assert given is not None
        with given, server.accept()[0] as accepted:
            accepted.sendall(b"hello")
            given.setblocking(True)
            assert given.recv(5) == b"hello"


def test_datagrams(place: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        said, given = ask(place, f"udp4 127.0.0.1:{server.getsockname()[1]}")
        assert said == "ok"
        assert given is not None
        with given:
            given.send(b"question")
            server.settimeout(10)
            assert server.recv(20) == b"question"


def test_listening(place: Path) -> None:
    said, given = ask(place, "listen 127.0.0.1:0")
    assert said == "ok"
    assert given is not None
    with given, socket.create_connection(given.getsockname()[:2], timeout=10) as connection:
        given.setblocking(True)
        with given.accept()[0] as accepted:
            assert accepted.getpeername() == connection.getsockname()


def test_refusals_have_the_kernels_number(place: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
        assert ask(place, f"listen 127.0.0.1:{port}") == (f"error {errno.EADDRINUSE}", None)
    assert ask(place, f"tcp4 127.0.0.1:{port}") == (f"error {errno.ECONNREFUSED}", None)
    assert ask(place, "nonsense") == (f"error {errno.EINVAL}", None)
    assert ask(place, "raw 127.0.0.1:1") == (f"error {errno.EINVAL}", None)
    assert ask(place, "tcp4 127.0.0.1:65536") == (f"error {errno.EINVAL}", None)
    assert ask(place, f"listen {'1' * 300}") == (f"error {errno.EINVAL}", None)


def test_more_connections_than_descriptors_only_wait(tmp_path: Path) -> None:
    """It has some open already; each connection takes one, and one that asks for a socket a second one."""
    with serving(tmp_path / "outside.sock", 24) as place, socket.create_server(("127.0.0.1", 0)) as server:
        with contextlib.ExitStack() as silent:
            for _ in range(32):
                silent.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)).connect(str(place))
        said, given = ask(place, f"tcp4 127.0.0.1:{server.getsockname()[1]}")
        assert said == "ok"
        assert given is not None
        given.close()


def test_loopback_has_other_addresses_inside() -> None:
    assert of_outer_loopback("127.0.0.53") == "169.254.0.53"
    assert of_outer_loopback("192.0.2.1") == "192.0.2.1"


def test_a_proxy_on_loopback_is_led_outside() -> None:
    given = {
        "HTTPS_PROXY": "http://user:word@127.0.0.1:3128/",
        "http_proxy": "http://localhost:3128",
        "https_proxy": "127.0.0.1:3128",
        "HTTP_PROXY": "http://proxy.example:80",
        "NO_PROXY": "127.0.0.1",
    }
    assert led_outside(given) == given | {
        "HTTPS_PROXY": "http://user:word@169.254.0.1:3128/",
        "http_proxy": "http://169.254.0.1:3128",
        "https_proxy": "http://169.254.0.1:3128",
    }
