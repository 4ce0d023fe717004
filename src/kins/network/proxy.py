"""The way out through an HTTP proxy, as pods are told of it when they ask: two ConfigMaps in each namespace."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from kins.network.addresses import LOAD_BALANCER_RANGE, POD_RANGE, SERVICE_RANGE, of_outer_loopback

# Apart, because a pod takes all keys of one as variables (`envFrom`), and an authority is far too long for one.
VARIABLES = "kins-egress"
AUTHORITIES = "kins-egress-authorities"
AUTHORITIES_KEY = "ca.crt"
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY")
EXCEPTIONS = "NO_PROXY"
# What pods must reach without a proxy whatever the sandbox's own list says.
DIRECT = ("localhost", "127.0.0.1", ".svc", ".cluster.local", POD_RANGE, SERVICE_RANGE, LOAD_BALANCER_RANGE)


def variables(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables for pods, in both cases, because programs differ in which they read; empty without a proxy."""
    found = {name: environment.get(name) or environment.get(name.lower()) for name in (*PROXIES, EXCEPTIONS)}
    direct = (found.pop(EXCEPTIONS) or "").split(",")
    given = {name: value for name, value in found.items() if value}
    if not given:
        return {}
    given[EXCEPTIONS] = ",".join(dict.fromkeys([*filter(None, map(str.strip, direct)), *DIRECT]))
    return given | {name.lower(): value for name, value in given.items()}


def authorities(environment: Mapping[str, str]) -> str | None:
    """The certificates in SSL_CERT_FILE. Raises OSError."""
    path = environment.get("SSL_CERT_FILE")
    return Path(path).read_text() if path else None


def config_maps(environment: Mapping[str, str]) -> list[dict[str, Any]]:
    """The ConfigMaps, without a namespace. Raises OSError."""
    contents = {VARIABLES: variables(environment)}
    certificates = authorities(environment)
    if certificates is not None:
        contents[AUTHORITIES] = {AUTHORITIES_KEY: certificates}
    return [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}
        for name, data in contents.items()
    ]


def led_outside(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment for a node in another network, where a proxy on the sandbox's loopback has another address."""
    return {name: _led_outside(value) if name.upper() in PROXIES else value for name, value in environment.items()}


def _led_outside(url: str) -> str:
    parts = urlsplit(url if "://" in url else f"http://{url}")
    host = "127.0.0.1" if parts.hostname == "localhost" else parts.hostname or ""
    address = of_outer_loopback(host)
    if address == host:
        return url
    before, at, _ = parts.netloc.rpartition("@")
    port = f":{parts.port}" if parts.port is not None else ""
    return urlunsplit(parts._replace(netloc=f"{before}{at}{address}{port}"))
