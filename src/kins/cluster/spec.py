"""What a user asks for, and what was made of it."""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from kins.components import COMPONENT_NAMES, Settings, kubelet
from kins.errors import UsageError

# A DNS label (RFC 1123), as Kubernetes object names; `kins-NAME` must fit into one as well: it is the node's name.
NAME_PATTERN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
MAXIMUM_NAME = 58
Level = Literal["node", "control-plane"]
KUBELETS = ("auto", *kubelet.FLAGS)


class ClusterSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A request for a cluster. `arguments` maps components to flags in the form `--name=value`; `kubelet` is a kind of
    kubelet, or `auto` for the one that the facts suggest."""

    name: str = "default"
    control_plane_only: bool = False
    kubelet: str = "auto"
    arguments: dict[str, tuple[str, ...]] = {}

    def validate(self) -> None:
        """Raises UsageError naming the first thing that is wrong."""
        validate_name(self.name)
        self._validate_kubelet()
        for component in self.arguments:
            if component not in COMPONENT_NAMES:
                raise UsageError(
                    f"unknown component {component!r}",
                    code="unknown-component",
                    hint=f"one of: {', '.join(COMPONENT_NAMES)}",
                )

    def _validate_kubelet(self) -> None:
        if self.kubelet not in KUBELETS:
            raise UsageError(
                f"unknown kubelet {self.kubelet!r}", code="unknown-kubelet", hint=f"one of: {', '.join(KUBELETS)}"
            )
        if self.kubelet != "auto" and self.control_plane_only:
            raise UsageError(
                f"a control plane alone has no kubelet, and {self.kubelet!r} was asked for",
                code="kubelet-without-node",
                hint=f"kins up {self.name} --kubelet {self.kubelet}",
            )


class Missing(msgspec.Struct, frozen=True, kw_only=True):
    """Why a higher level cannot be had: the fact, its cause, what follows, what would give it."""

    fact: str
    cause: str
    consequence: str
    hint: str


class KubeletDecision(msgspec.Struct, frozen=True, kw_only=True):
    """Which kubelet, and the wish or fact that it rests on. With `view` it runs in a mount namespace of its own, in
    which cpuacct has the file that cAdvisor misses."""

    kind: kubelet.Kind
    because: str
    view: bool = False


class Decisions(msgspec.Struct, frozen=True, kw_only=True):
    """What the facts of the sandbox led to.

    `missing`: why the level is no higher; `limits`: sentences on what this level does not do here.
    """

    level: Level
    missing: tuple[Missing, ...] = ()
    limits: tuple[str, ...] = ()
    kubelet: KubeletDecision | None = None
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
