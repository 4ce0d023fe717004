"""A neighbour of an environment: a network namespace of its own with servers, joined to the environment by one link.

Its program runs inside the environment as root with Python's standard library alone, and serves until its standard
input ends. With a certificate and a key as its arguments there are also an HTTPS server and the proxy that leads to it.
The neighbour knows the environment's end of the link and no way to anything behind it: an answer reaches only what
comes from there.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import socket
import socketserver
import ssl
import struct
import sys
import threading
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LINK, PEER = "neighbour0", "neighbour1"
# TEST-NET-1 of RFC 5737; HERE is the environment's end, THERE the neighbour's, where nobody listens on CLOSED.
HERE, THERE, PREFIX = "192.0.2.1", "192.0.2.2", 24
ECHO, HTTP, RESETS, CLOSED, PROXY, HTTPS = 7, 80, 9, 81, 3128, 443

# rtnetlink(7), linux/if_link.h, sched.h
NEW_LINK, NEW_ADDRESS = 16, 20
LINK_NAME, LINK_INFORMATION, LINK_NAMESPACE = 3, 18, 28
INFORMATION_KIND, INFORMATION_DATA, PEER_INFORMATION = 1, 2, 1
ADDRESS, ADDRESS_LOCAL = 1, 2
NEW_NAMESPACE = 0x40000000
FLAG_UP = 1


class Tcp(socketserver.StreamRequestHandler):
    """Says whom it sees, then reads to the end and says how much that was."""

    def handle(self) -> None:
        self.wfile.write(f"hello {self.client_address[0]}\n".encode())
        digest, size = hashlib.sha256(), 0
        while chunk := self.request.recv(65536):
            digest.update(chunk)
            size += len(chunk)
        self.wfile.write(f"{size} {digest.hexdigest()}\n".encode())


class Udp(socketserver.BaseRequestHandler):
    """Answers a datagram with whom it sees and what it got."""

    def handle(self) -> None:
        data, server = self.request
        server.sendto(f"hello {self.client_address[0]} {data.decode()}".encode(), self.client_address)


class Resets(socketserver.BaseRequestHandler):
    """Waits for a byte and resets the connection."""

    def handle(self) -> None:
        self.request.recv(1)
        self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class Http(BaseHTTPRequestHandler):
    """`/N` is N bytes, the same each time."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        size = int(self.path[1:])
        self.send_response(200)
        self.send_header("Content-Length", str(size))
        self.end_headers()
        block = bytes(range(256)) * 256
        while size > 0:
            size -= self.wfile.write(block[:size])

    def log_message(self, format: str, *arguments: object) -> None:
        pass


class Proxy(BaseHTTPRequestHandler):
    """An HTTP proxy that knows CONNECT only (RFC 9110, 9.3.6), and leads everywhere to the HTTPS server."""

    def do_CONNECT(self) -> None:
        with socket.create_connection((THERE, HTTPS)) as server:
            self.send_response(200)
            self.end_headers()
            back = threading.Thread(target=self.carry, args=(server, self.connection), daemon=True)
            back.start()
            self.carry(self.connection, server)
            back.join()
        self.close_connection = True

    @staticmethod
    def carry(source: socket.socket, target: socket.socket) -> None:
        """One direction, to its end."""
        with contextlib.suppress(OSError):
            while chunk := source.recv(65536):
                target.sendall(chunk)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


class ResetServer(socketserver.ThreadingTCPServer):
    """Closes without a word before: a FIN would come first and be taken for the end."""

    daemon_threads = True

    def shutdown_request(self, request: socket.socket | tuple[bytes, socket.socket]) -> None:
        assert isinstance(request, socket.socket)
        self.close_request(request)


class TcpServer(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute of a message."""
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def ask(kind: int, body: bytes, flags: int = 0) -> None:
    """One request. Raises OSError."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as asked:
        asked.settimeout(10)
        asked.sendall(struct.pack("=IHHII", 16 + len(body), kind, 5 | flags, 1, 0) + body)
        number = -struct.unpack_from("=i", asked.recv(65536), 16)[0]
        if number:
            raise OSError(number, os.strerror(number))


def header(name: str = "", flags: int = 0) -> bytes:
    """The fixed part of a message on a link."""
    return struct.pack("=BxHiII", 0, 0, socket.if_nametoindex(name) if name else 0, flags, flags)


def make_pair() -> None:
    """The two ends."""
    peer = attribute(PEER_INFORMATION, header() + attribute(LINK_NAME, PEER.encode() + b"\0"))
    information = attribute(INFORMATION_KIND, b"veth\0") + attribute(INFORMATION_DATA, peer)
    body = header() + attribute(LINK_NAME, LINK.encode() + b"\0") + attribute(LINK_INFORMATION, information)
    ask(NEW_LINK, body, 0x600)


def set_up(name: str, address: str | None = None) -> None:
    """Give a link its address and bring it up."""
    if address is not None:
        packed = socket.inet_aton(address)
        body = struct.pack("=BBBBI", socket.AF_INET, PREFIX, 0, 0, socket.if_nametoindex(name))
        ask(NEW_ADDRESS, body + attribute(ADDRESS_LOCAL, packed) + attribute(ADDRESS, packed), 0x600)
    ask(NEW_LINK, header(name, FLAG_UP))


def serve(certificate: Sequence[str]) -> None:
    """All servers, each in a thread."""
    udp = socketserver.ThreadingUDPServer((THERE, ECHO), Udp)
    servers: list[socketserver.BaseServer] = [TcpServer((THERE, ECHO), Tcp), udp, ResetServer((THERE, RESETS), Resets)]
    servers += [ThreadingHTTPServer((THERE, HTTP), Http)]
    if certificate:
        secure = ThreadingHTTPServer((THERE, HTTPS), Http)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        secure.socket = context.wrap_socket(secure.socket, server_side=True, do_handshake_on_connect=False)
        servers += [secure, ThreadingHTTPServer((THERE, PROXY), Proxy)]
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()


def main() -> None:
    """Make the link, become the neighbour, serve."""
    libc = ctypes.CDLL(None, use_errno=True)
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    make_pair()
    if libc.unshare(NEW_NAMESPACE):
        raise OSError(ctypes.get_errno(), "unshare")
    ours = os.open("/proc/self/ns/net", os.O_RDONLY)
    libc.setns(home, NEW_NAMESPACE)
    ask(NEW_LINK, header(PEER) + attribute(LINK_NAMESPACE, struct.pack("=I", ours)))
    set_up(LINK, HERE)
    libc.setns(ours, NEW_NAMESPACE)
    # Whatever holds an open file of the namespace keeps it, and the link with it.
    for each in (home, ours):
        os.close(each)
    set_up("lo")
    set_up(PEER, THERE)
    serve(sys.argv[1:])
    print("ready", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
