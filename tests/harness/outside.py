"""The world outside of a sandbox, as a program inside it: a private registry over TLS, and the proxy that leads to it.

Run by its text: `serve` with a JSON object of the fields of `World`; `push NAME ARCHIVE` into a cluster's registry.
The private registry keeps nothing itself: it is a door with a lock in front of the cluster's own. Names are resolved
by the proxy alone, which leads every connection to the one door. Two files say what goes wrong meanwhile.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import http.server
import io
import json
import os
import socket
import ssl
import sys
import tarfile
import threading
from pathlib import Path
from typing import NamedTuple

# The cluster's registry, on loopback.
REGISTRY = ("127.0.0.1", 5000)
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIGURATION = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
CHUNK = 65536


class World(NamedTuple):
    """What the servers need to know; `directory` is where `budget`, bytes until every connection breaks, and `corrupt`
    are looked for at each step, and where the proxy writes `proxy.log`."""

    directory: str
    certificate: str
    key: str
    user: str
    password: str
    proxy_port: int
    door_port: int


def door(world: World) -> http.server.ThreadingHTTPServer:
    """The private registry: who has no password gets 401; with `corrupt` there, a byte of every layer is another."""
    wanted = "Basic " + base64.b64encode(f"{world.user}:{world.password}".encode()).decode()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if self.headers.get("Authorization") != wanted:
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="private"')
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            connection = http.client.HTTPConnection(*REGISTRY, timeout=60)
            passed = {name: value for name, value in self.headers.items() if name in ("Accept", "Range")}
            connection.request(self.command, self.path, headers=passed)
            answer = connection.getresponse()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("connection", "date", "server"):
                    self.send_header(name, value)
            self.end_headers()
            corrupt = "/blobs/" in self.path and os.path.exists(os.path.join(world.directory, "corrupt"))
            while chunk := answer.read(CHUNK):
                self.wfile.write(bytes([chunk[0] ^ 1]) + chunk[1:] if corrupt else chunk)

        do_HEAD = do_GET

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", world.door_port), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(world.certificate, world.key)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    return server


class Proxy:
    """An HTTP proxy that knows CONNECT only (RFC 9110, 9.3.6)."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.budget = Path(world.directory) / "budget"
        self.lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", world.proxy_port))

    def serve(self) -> None:
        """Take connections for ever."""
        while True:
            client, _ = self.listener.accept()
            threading.Thread(target=self.lead, args=(client,), daemon=True).start()

    def lead(self, client: socket.socket) -> None:
        """One connection."""
        with client, contextlib.suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head:
                head += client.recv(CHUNK)
            with open(os.path.join(self.world.directory, "proxy.log"), "ab") as log:
                log.write(head.splitlines()[0] + b"\n")
            with socket.create_connection(("127.0.0.1", self.world.door_port)) as server:
                client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                back = threading.Thread(target=self.pass_on, args=(server, client), daemon=True)
                back.start()
                self.pass_on(client, server)
                back.join()

    def pass_on(self, source: socket.socket, target: socket.socket) -> None:
        """Until its end, or until the budget of all connections is used up."""
        try:
            while (chunk := source.recv(CHUNK)) and self.affords(len(chunk)):
                target.sendall(chunk)
        except OSError:
            pass
        finally:
            for end in (source, target):
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def affords(self, size: int) -> bool:
        """Take bytes from the budget, where there is one."""
        with self.lock:
            try:
                left = int(self.budget.read_text()) - size
            except FileNotFoundError:
                return True
            self.budget.write_text(str(max(left, 0)))
            return left >= 0


def push(name: str, archive: str) -> None:
    """Push a docker archive with one image of uncompressed layers, in the registry's own words (distribution-spec)."""
    repository, _, tag = name.partition(":")
    with tarfile.open(archive) as opened:

        def read(member: str) -> bytes:
            return (opened.extractfile(member) or io.BytesIO()).read()

        (described,) = json.loads(read("manifest.json"))
        configuration = upload(repository, CONFIGURATION, read(described["Config"]))
        layers = [upload(repository, LAYER, read(layer)) for layer in described["Layers"]]
    manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": configuration, "layers": layers}
    call("PUT", f"/v2/{repository}/manifests/{tag}", json.dumps(manifest).encode(), {"Content-Type": MANIFEST})


def upload(repository: str, kind: str, content: bytes) -> dict[str, object]:
    """Push a blob; returns its descriptor."""
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    place = call("POST", f"/v2/{repository}/blobs/uploads/", b"", {}) or ""
    separator = "&" if "?" in place else "?"
    call("PUT", f"{place}{separator}digest={digest}", content, {"Content-Type": "application/octet-stream"})
    return {"mediaType": kind, "digest": digest, "size": len(content)}


def call(method: str, path: str, content: bytes, headers: dict[str, str]) -> str | None:
    """A request to the cluster's registry that must succeed; returns its answer's place."""
    connection = http.client.HTTPConnection(*REGISTRY, timeout=60)
    connection.request(method, path, content, headers)
    answer = connection.getresponse()
    if answer.status >= 300:
        sys.exit(f"{method} {path}: {answer.status} {answer.read().decode()}")
    return answer.getheader("Location")


def main(command: str, *arguments: str) -> None:
    """What the module's docstring says."""
    if command == "push":
        push(*arguments)
        return
    world = World(**json.loads(arguments[0]))
    threading.Thread(target=door(world).serve_forever, daemon=True).start()
    proxy = Proxy(world)
    print("ready", flush=True)
    proxy.serve()


if __name__ == "__main__":
    main(*sys.argv[1:])
