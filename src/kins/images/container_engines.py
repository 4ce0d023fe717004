"""Images out of a Docker or Podman that runs here, by the API that both serve on a unix socket (Docker Engine API,
"Export several images")."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from kins.errors import KinsError

# An engine that saves a large image may need a while until its first byte.
ANSWER_SECONDS = 300.0
SYSTEM_SOCKETS = ("/var/run/docker.sock", "/run/podman/podman.sock")


class _Connection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=ANSWER_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def sockets() -> list[Path]:
    """The sockets of engines that are there: what DOCKER_HOST or CONTAINER_HOST names, then the usual places."""
    named = [os.environ.get("DOCKER_HOST", ""), os.environ.get("CONTAINER_HOST", "")]
    places = [Path(host.removeprefix("unix://")) for host in named if host.startswith("unix://")]
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        places += [Path(runtime) / "docker.sock", Path(runtime) / "podman" / "podman.sock"]
    places += map(Path, SYSTEM_SOCKETS)
    return [path for path in dict.fromkeys(places) if path.is_socket()]


def save(name: str, target: Path) -> bool:
    """Write the image of that name as a docker archive, from the first engine that has it; whether one has. Raises
    KinsError `container-engine-failed`."""
    return any(_save(path, name, target) for path in _listening())


def _listening() -> Iterator[Path]:
    """A socket may have outlived its engine."""
    for path in sockets():
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as tried:
                tried.connect(str(path))
        except ConnectionError:
            continue
        except OSError as error:
            raise _failure(path, str(error)) from error
        yield path


def _save(path: Path, name: str, target: Path) -> bool:
    connection = _Connection(path)
    try:
        connection.request("GET", f"/images/{quote(name, safe='')}/json")
        answer = connection.getresponse()
        content = answer.read()
        if answer.status == http.HTTPStatus.NOT_FOUND:
            return False
        if answer.status != http.HTTPStatus.OK:
            raise _failure(path, _message(content))
        connection.request("GET", f"/images/get?names={quote(name, safe='')}")
        answer = connection.getresponse()
        if answer.status != http.HTTPStatus.OK:
            raise _failure(path, _message(answer.read()))
        with open(target, "wb") as file:
            shutil.copyfileobj(answer, file, 1 << 20)
    except (OSError, http.client.HTTPException) as error:
        if isinstance(error, OSError) and error.filename is not None:
            raise  # our own file, on a full disk
        raise _failure(path, str(error)) from error
    finally:
        connection.close()
    return True


def _failure(path: Path, reason: str) -> KinsError:
    return KinsError(
        f"the container engine at {path} gives no image: {reason}",
        code="container-engine-failed",
        hint=f"curl --unix-socket {path} http://localhost/_ping",
    )


def _message(content: bytes) -> str:
    """The API's own words for an error."""
    try:
        return str(json.loads(content)["message"])
    except (ValueError, KeyError, TypeError):
        return content.decode(errors="replace")[:200]
