"""A user's credentials for registries, where docker and podman keep them (docker login).

The kubelet reads the same file by itself, for pods, but for credential helpers, which it does not call.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from kins.errors import KinsError
from kins.images.references import DOCKER_HUB, registry

HELPER_SECONDS = 30.0
# What `docker login` without a registry writes its entry under.
HUB_KEYS = ("https://index.docker.io/v1/", "index.docker.io", "docker.io", "registry-1.docker.io")
# A helper says so where an identity token takes the password's place (docker-credential-helpers).
TOKEN_USER = "<token>"


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """What a registry wants to know; all empty for none."""

    username: str = ""
    password: str = ""
    identity_token: str = ""


class _Entry(msgspec.Struct, frozen=True):
    """An entry of `auths`; `auth` is USER:PASSWORD in base64."""

    auth: str = ""
    username: str = ""
    password: str = ""
    identity_token: str = msgspec.field(default="", name="identitytoken")


class _Configuration(msgspec.Struct, frozen=True):
    auths: dict[str, _Entry] = {}
    helpers: dict[str, str] = msgspec.field(default_factory=dict, name="credHelpers")
    store: str = msgspec.field(default="", name="credsStore")


def configuration_file() -> Path:
    """docker's configuration: config.json in DOCKER_CONFIG or ~/.docker."""
    configured = os.environ.get("DOCKER_CONFIG")
    return (Path(configured).absolute() if configured else Path.home() / ".docker") / "config.json"


def credentials(name: str) -> Credentials:
    """The user's credentials for an image's registry, empty when there are none. Raises KinsError
    `credentials-unreadable`."""
    configuration = _read(configuration_file())
    for key in _keys(name):
        helper = configuration.helpers.get(key) or configuration.store
        if helper and (found := _from_helper(helper, key)) is not None:
            return found
        if key in configuration.auths:
            return _decoded(key, configuration.auths[key])
    return Credentials()


def _read(path: Path) -> _Configuration:
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Configuration)
    except FileNotFoundError:
        return _Configuration()
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise KinsError(
            f"{path} cannot be read: {error}", code="credentials-unreadable", hint="docker login REGISTRY"
        ) from error


def _keys(name: str) -> Iterator[str]:
    """Under what an image's credentials may stand: its repository or a part of that, as podman and the kubelet take it,
    then its registry in the ways that docker's tools have written it over the years."""
    host = registry(name)
    if host == DOCKER_HUB:
        yield from HUB_KEYS
        return
    parts = name.partition("@")[0].split("/")
    parts[-1] = parts[-1].partition(":")[0]
    yield from ("/".join(parts[:count]) for count in range(len(parts), 1, -1))
    yield from (host, f"https://{host}", f"http://{host}", f"https://{host}/v1/", f"https://{host}/v2/")


def _decoded(key: str, entry: _Entry) -> Credentials:
    if entry.identity_token:
        return Credentials(identity_token=entry.identity_token)
    if not entry.auth:
        return Credentials(username=entry.username, password=entry.password)
    try:
        username, colon, password = base64.b64decode(entry.auth, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        colon = ""
    if not colon:
        raise KinsError(
            f"the entry of {key} in {configuration_file()} is no USER:PASSWORD in base64",
            code="credentials-unreadable",
            hint=f"docker login {key}",
        )
    return Credentials(username=username, password=password)


def _from_helper(helper: str, key: str) -> Credentials | None:
    """What a credential helper has for a registry; None when it has nothing."""
    program = f"docker-credential-{helper}"
    try:
        done = subprocess.run(
            [program, "get"], input=key, capture_output=True, text=True, timeout=HELPER_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise KinsError(
            f"{program}, which {configuration_file()} names, does not answer: {error}",
            code="credentials-unreadable",
            hint=f"echo {key} | {program} get",
        ) from error
    if done.returncode != 0:
        return None  # by the helpers' protocol also when it only has no entry
    answer: dict[str, Any] = json.loads(done.stdout)
    if answer.get("Username") == TOKEN_USER:
        return Credentials(identity_token=str(answer["Secret"]))
    return Credentials(username=str(answer.get("Username", "")), password=str(answer.get("Secret", "")))
