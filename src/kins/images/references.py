"""What an image's name says, by Docker's rules (github.com/distribution/reference)."""

from __future__ import annotations

import re

DOCKER_HUB = "docker.io"
# A name with an optional tag and digest, as far as it tells a name from a path or a typing error.
NAME_PATTERN = re.compile(
    r"(?:[a-zA-Z0-9][\w.-]*(?::\d+)?/)?"  # a registry, or the first part of the repository
    r"[a-z0-9]+(?:[._-]+[a-z0-9]+)*(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*"
    r"(?::[\w][\w.-]{0,127})?(?:@[a-z0-9]+:[0-9a-f]{32,})?",
    re.ASCII,
)


def is_name(text: str) -> bool:
    """Whether a text can be an image's name."""
    return NAME_PATTERN.fullmatch(text) is not None


def whole_name(name: str) -> str:
    """The name by which containerd knows an image: with registry and tag."""
    if registry(name) == DOCKER_HUB:
        path = name.removeprefix(f"{DOCKER_HUB}/")
        name = f"{DOCKER_HUB}/{path}" if "/" in path else f"{DOCKER_HUB}/library/{path}"
    return name if set(name.rpartition("/")[2]) & set(":@") else f"{name}:latest"


def is_tag(text: str) -> bool:
    """Whether a text, where a name or a tag may stand, is a tag alone: "1", but not "app:1"."""
    return not set(text) & set(":/@")


def registry(name: str) -> str:
    """The registry that a name belongs to, with its port: Docker Hub unless the first part looks like a host."""
    first, slash, _ = name.partition("/")
    if slash and (first == "localhost" or "." in first or ":" in first):
        return first
    return DOCKER_HUB
