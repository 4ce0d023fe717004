"""How the nodes are, as the API server has it."""

from __future__ import annotations

import http
import json
from typing import Any
from urllib.parse import quote

import msgspec

from kins.cluster.api import ApiClient, node_conditions
from kins.cluster.spec import Record
from kins.components import Layout, kwok

ANSWER_SECONDS = 2.0


class NodeHealth(msgspec.Struct, frozen=True, kw_only=True):
    """A node's conditions, e.g. {"Ready": "True"}."""

    name: str
    ready: bool
    conditions: dict[str, str]


def node_health(files: Layout, record: Record) -> NodeHealth:
    """The real node, with no conditions where the API server does not answer."""
    name = record.settings.node_name
    return _health(name, _asked(files, record, f"/api/v1/nodes/{name}"))


def simulated_nodes(files: Layout, record: Record) -> tuple[NodeHealth, ...]:
    """All that are there, also those that a user has made."""
    if record.settings.simulation is None:
        return ()
    found = _asked(files, record, f"/api/v1/nodes?labelSelector={quote(kwok.SELECTOR)}").get("items", ())
    marked = [each for each in found if each["metadata"].get("annotations", {}).get(kwok.MARK) == kwok.MARKED]
    return tuple(_health(each["metadata"]["name"], each) for each in marked)


def _asked(files: Layout, record: Record, path: str) -> dict[str, Any]:
    """What the API server has there; empty where it does not answer."""
    try:
        code, body = ApiClient(files, record.settings).get(path, ANSWER_SECONDS)
    except OSError:
        return {}
    found: dict[str, Any] = json.loads(body) if code == http.HTTPStatus.OK else {}
    return found


def _health(name: str, node: dict[str, Any]) -> NodeHealth:
    conditions = node_conditions(node)
    return NodeHealth(name=name, ready=conditions.get("Ready") == "True", conditions=conditions)
