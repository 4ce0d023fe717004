"""What a user asks for, and what was made of it."""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from kins.components import COMPONENT_NAMES, Settings
from kins.errors import UsageError

# A DNS label (RFC 1123), as Kubernetes object names; `kins-NAME` must fit into one as well: it is the node's name.
NAME_PATTERN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
MAXIMUM_NAME = 58
Level = Literal["node", "control-plane"]


class ClusterSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A request for a cluster. `arguments` maps components to flags in the form `--name=value`."""

    name: str = "default"
    control_plane_only: bool = False
    arguments: dict[str, tuple[str, ...]] = {}

    def validate(self) -> None:
        """Raises UsageError naming the first thing that is wrong."""
        validate_name(self.name)
        for component in self.arguments:
            if component not in COMPONENT_NAMES:
                raise UsageError(
                    f"unknown component {component!r}",
                    code="unknown-component",
                    hint=f"one of: {', '.join(COMPONENT_NAMES)}",
                )


class Missing(msgspec.Struct, frozen=True, kw_only=True):
    """Why a higher level cannot be had: the fact, its cause, what follows, what would give it."""

    fact: str
    cause: str
    consequence: str
    hint: str


class Decisions(msgspec.Struct, frozen=True, kw_only=True):
    """What the facts of the sandbox led to.

    `missing`: why the level is no higher; `limits`: sentences on what this level does not do here.
    """

    level: Level
    missing: tuple[Missing, ...] = ()
    limits: tuple[str, ...] = ()
    statistics: Literal["cadvisor", "injected"] = "cadvisor"
    snapshotter: Literal["overlayfs", "native"] = "overlayfs"
    images_on: Literal["disk", "tmpfs"] = "disk"


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """A cluster as `cluster.json` keeps it. `identity` tells clusters of one name apart in kernel object names."""

    version: int = 1
    identity: str
    spec: ClusterSpec
    decisions: Decisions
    settings: Settings


def validate_name(name: str) -> None:
    """Raises UsageError when this cannot be a cluster's name."""
    if len(name) > MAXIMUM_NAME or not NAME_PATTERN.fullmatch(name):
        raise UsageError(
            f"invalid cluster name {name!r}: at most {MAXIMUM_NAME} lower-case letters, digits and inner dashes",
            code="invalid-name",
            hint="kins up my-cluster",
        )


def parse_argument(text: str) -> tuple[str, str]:
    """`COMPONENT:FLAG=VALUE` as (component, `--FLAG=VALUE`). Raises UsageError."""
    component, colon, flag = text.partition(":")
    name, equals, _ = flag.partition("=")
    if not (colon and equals and name.strip("-")):
        raise UsageError(
            f"invalid --arg {text!r}: it has the form COMPONENT:FLAG=VALUE",
            code="invalid-argument",
            hint="kins up --arg kube-apiserver:v=4",
        )
    return component, f"--{flag.lstrip('-')}"
