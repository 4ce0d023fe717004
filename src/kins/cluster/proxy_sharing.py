"""Keeping the ConfigMaps that tell pods of the sandbox's proxy in every namespace, new ones included."""

from __future__ import annotations

import asyncio
import http
import json
import os
import sys
from collections.abc import Sequence
from typing import Any

from kins.cluster.api import ApiClient
from kins.components.objects import ApiObject
from kins.network import proxy

NAMESPACES = "/api/v1/namespaces"
# How long one watch lasts before it is made anew, and a request may take.
WATCH_SECONDS = 30
ANSWER_SECONDS = 5.0
PAUSE_SECONDS = 1.0


async def share_proxy(client: ApiClient) -> None:
    """Runs until it is cancelled. What the API server does not take now is tried again."""
    maps = proxy.config_maps(os.environ)
    while True:
        try:
            await asyncio.to_thread(_share, client, maps)
        except OSError as error:
            print(f"the proxy's variables are not in every namespace yet: {error}", file=sys.stderr, flush=True)
            await asyncio.sleep(PAUSE_SECONDS)


def _share(client: ApiClient, maps: Sequence[dict[str, Any]]) -> None:
    """Put the maps into the namespaces that are there, and into those that come during one watch. Raises OSError."""
    for event in client.events(NAMESPACES, WATCH_SECONDS):
        namespace = event["object"]
        if event["type"] == "ADDED" and "deletionTimestamp" not in namespace["metadata"]:
            for content in maps:
                _put(client, f"{NAMESPACES}/{namespace['metadata']['name']}", content)


def _put(client: ApiClient, namespace: str, content: dict[str, Any]) -> None:
    try:
        client.put(ApiObject(collection=f"{namespace}/configmaps", content=content), ANSWER_SECONDS)
    except ConnectionError:
        # A namespace that is being deleted meanwhile takes nothing, and needs nothing.
        status, body = client.get(namespace, ANSWER_SECONDS)
        gone = status == http.HTTPStatus.NOT_FOUND or "deletionTimestamp" in json.loads(body).get("metadata", {})
        if not gone:
            raise
