"""A small client of the API server, for our own questions and loads; users have kubectl.

The standard library's HTTP client is enough for them, costs no import time, and never asks a proxy.
"""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from kins.components import Layout, Settings
from kins.components.objects import ApiObject


class ApiClient:
    """Speaks to the cluster's API server as its administrator."""

    def __init__(self, files: Layout, settings: Settings) -> None:
        self._port = settings.ports.api
        self._context = ssl.create_default_context(cafile=files.certificate("ca"))
        self._context.load_cert_chain(files.certificate("admin"), files.key("admin"))

    def get(self, path: str, timeout: float) -> tuple[int, bytes]:
        """Status and body of a GET. Raises OSError."""
        return self.request("GET", path, timeout)

    def request(
        self, method: str, path: str, timeout: float, content: Any = None, kind: str = "application/json"
    ) -> tuple[int, bytes]:
        """Status and body of a request with a JSON body, whose media type is `kind`. Raises OSError."""
        connection = self._connection(timeout)
        try:
            body = None if content is None else json.dumps(content)
            connection.request(method, path, body, {"Content-Type": kind} if body else {})
            response = connection.getresponse()
            return response.status, response.read()
        except http.client.HTTPException as error:
            raise ConnectionError(str(error)) from error
        finally:
            connection.close()

    def put(self, wanted: ApiObject, timeout: float) -> None:
        """Make an object, or make it what it should be. Raises OSError, also when the API server refuses it."""
        if wanted.only_made:
            status, body = self.request("POST", wanted.collection, timeout, wanted.content)
        else:
            # Server-side apply (kubernetes.io): the fields that we name, whoever had them before. JSON is YAML.
            path = f"{wanted.collection}/{wanted.name}?fieldManager=kins&force=true"
            status, body = self.request("PATCH", path, timeout, wanted.content, "application/apply-patch+yaml")
        made = status in (http.HTTPStatus.OK, http.HTTPStatus.CREATED)
        if not made and not (wanted.only_made and status == http.HTTPStatus.CONFLICT):
            raise ConnectionError(f"{wanted.collection}/{wanted.name}: HTTP {status}: {_excerpt(body)}")

    def remove(self, path: str, timeout: float) -> None:
        """Delete an object, which may be gone already. Raises OSError."""
        status, body = self.request("DELETE", path, timeout)
        if status not in (http.HTTPStatus.OK, http.HTTPStatus.NOT_FOUND):
            raise ConnectionError(f"DELETE {path}: HTTP {status}: {_excerpt(body)}")

    def is_ready(self, timeout: float) -> bool:
        """Whether /readyz says ok."""
        try:
            return self.get("/readyz", timeout)[0] == http.HTTPStatus.OK
        except OSError:
            return False

    def watch(self, collection: str, name: str, timeout: int) -> Iterator[dict[str, Any]]:
        """The object of that name, now and after each change, for at most `timeout` s. Raises OSError."""
        for event in self.events(collection, timeout, fieldSelector=f"metadata.name={name}"):
            yield event["object"]

    def events(self, collection: str, timeout: int, **parameters: str) -> Iterator[dict[str, Any]]:
        """Watch events (objects with `type` and `object`) of a collection for at most `timeout` s. Without a
        `resourceVersion` among the parameters they begin with what is there. Raises OSError."""
        query = urlencode({"watch": "1", "timeoutSeconds": timeout, **parameters})
        connection = self._connection(timeout + 1)
        try:
            connection.request("GET", f"{collection}?{query}")
            response = connection.getresponse()
            if response.status != http.HTTPStatus.OK:
                raise ConnectionError(f"{collection}: HTTP {response.status}")
            for line in response:
                yield json.loads(line)
        except http.client.HTTPException as error:
            raise ConnectionError(str(error)) from error
        finally:
            connection.close()

    def _connection(self, timeout: float) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection("127.0.0.1", self._port, timeout=timeout, context=self._context)


def _excerpt(body: bytes) -> str:
    return body.decode(errors="replace")[:500]


def node_conditions(node: dict[str, Any]) -> dict[str, str]:
    """A Node's conditions by type, e.g. {"Ready": "True"}."""
    return {item["type"]: item["status"] for item in node.get("status", {}).get("conditions", ())}


def is_ready_node(node: dict[str, Any], since: datetime) -> bool:
    """Whether the node's kubelet has called it Ready since a moment; a recovered store still holds older calls."""
    for condition in node.get("status", {}).get("conditions", ()):
        if condition["type"] == "Ready" and condition["status"] == "True":
            return datetime.fromisoformat(condition["lastHeartbeatTime"]) >= since.replace(microsecond=0)
    return False


def is_ready_simulated_node(node: dict[str, Any]) -> bool:
    """Whether a simulated node takes pods. Since when is no matter: who would take them answers already."""
    return node_conditions(node).get("Ready") == "True" and is_schedulable(node)


def is_schedulable(node: dict[str, Any]) -> bool:
    """Whether pods are placed there: none of the system's own taints (such as not-ready) is left."""
    taints = [taint["key"] for taint in node.get("spec", {}).get("taints", ())]
    return not any(key.startswith("node.kubernetes.io/") for key in taints)
