"""A small client of an API server: what a benchmark waits for, without kubectl's start in each figure."""

from __future__ import annotations

import base64
import http.client
import json
import re
import ssl
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode, urlsplit

Found = TypeVar("Found")

# How often something is tried again that offers no event. Figures are no more exact than this; the measuring costs a
# refused connection or a GET on a kept one each time.
INTERVAL = 0.05
ANSWER_SECONDS = 10.0
WATCH_SECONDS = 300

FIELD = re.compile(
    r"^[ -]*(server|(?:certificate-authority|client-certificate|client-key)(?:-data)?): *[\"']?([^\"'\s]+)",
    re.MULTILINE,
)


class TimeIsUp(Exception):
    """Something that is waited for did not come."""


class Access:
    """Where an API server is and how it is spoken to, by a kubeconfig with a single cluster and user.

    Raises KeyError or OSError as long as the file is not whole.
    """

    def __init__(self, kubeconfig: Path) -> None:
        # Not a YAML parser, which is not in the standard library: both writers write one key to a line.
        fields = dict(FIELD.findall(kubeconfig.read_text()))
        address = urlsplit(fields["server"])
        self.host, self.port = str(address.hostname), int(address.port or 443)
        with tempfile.TemporaryDirectory() as directory:
            names = ("certificate-authority", "client-certificate", "client-key")
            authority, certificate, key = (_file(fields, name, Path(directory)) for name in names)
            self.context = ssl.create_default_context(cafile=authority)
            self.context.load_cert_chain(certificate, key)


def _file(fields: dict[str, str], name: str, directory: Path) -> Path:
    """The file that a kubeconfig names, or one in `directory` with what it holds itself."""
    if name in fields:
        return Path(fields[name])
    path = directory / name
    path.write_bytes(base64.b64decode(fields[f"{name}-data"]))
    return path


class Client:
    """One kept connection; for one thread."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._connection = self._new_connection(ANSWER_SECONDS)

    def request(self, method: str, path: str, content: Any = None) -> tuple[int, Any]:
        """Status and what the body holds (text if it is not JSON). Raises OSError; the next request connects anew."""
        body = None if content is None else json.dumps(content)
        try:
            self._connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
            response = self._connection.getresponse()
            status, text = response.status, response.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise ConnectionError(str(error)) from error
        try:
            return status, json.loads(text)
        except ValueError:
            return status, text.decode(errors="replace")

    def watch(self, collection: str, **selectors: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Kind of event and object, what is there first, until the server ends the watch. Raises OSError."""
        query = urlencode({"watch": "1", "timeoutSeconds": WATCH_SECONDS, **selectors})
        connection = self._new_connection(WATCH_SECONDS)
        try:
            connection.request("GET", f"{collection}?{query}")
            response = connection.getresponse()
            if response.status != http.HTTPStatus.OK:
                raise ConnectionError(f"{collection}: HTTP {response.status}")
            for line in response:
                event = json.loads(line)
                if event["type"] == "ERROR":
                    raise ConnectionError(f"{collection}: {event['object']}")
                yield event["type"], event["object"]
        except http.client.HTTPException as error:
            raise ConnectionError(str(error)) from error
        finally:
            connection.close()

    def _new_connection(self, timeout: float) -> http.client.HTTPSConnection:
        access = self._access
        return http.client.HTTPSConnection(access.host, access.port, timeout=timeout, context=access.context)


def until(attempt: Callable[[], Found | None], what: str, deadline: float) -> Found:
    """The first result of `attempt` that is something. A connection that fails is tried again. Raises TimeIsUp."""
    reason = ""
    while time.monotonic() < deadline:
        try:
            if (found := attempt()) is not None:
                return found
        except OSError as error:
            reason = f" ({error})"
        time.sleep(INTERVAL)
    raise TimeIsUp(f"{what} did not come{reason}")


def pause_pod(name: str, image: str) -> dict[str, Any]:
    """A pod that does nothing, of an image that the node has from the beginning."""
    container = {"name": "pause", "image": image, "imagePullPolicy": "Never"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"benchmark": "pause"}},
        "spec": {"containers": [container]},
    }


def is_running(pod: dict[str, Any]) -> bool:
    """Whether the API says that the pod's container runs."""
    return bool(pod.get("status", {}).get("phase") == "Running")


def is_ready(node: dict[str, Any]) -> bool:
    """Whether the API says that the node is Ready."""
    conditions = node.get("status", {}).get("conditions", ())
    return any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)
