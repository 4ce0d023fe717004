"""What a user asks for, and what was made of it."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Iterable
from typing import Literal

import msgspec

from kins.components import COMPONENT_NAMES, PublishedPort, Settings, kubelet
from kins.errors import UsageError

# A DNS label (RFC 1123), as Kubernetes object names; `kins-NAME` must fit into one as well: it is the node's name.
NAME_PATTERN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
MAXIMUM_NAME = 58
PUBLISH_PATTERN = re.compile(r"(?:([0-9.]+):)?([0-9]{1,5}):([0-9]{1,5})")
Level = Literal["node", "fake", "control-plane"]
KUBELETS = ("auto", *kubelet.FLAGS)
AskedLevel = Literal["auto", "node", "fake", "control-plane"]
# Asked for by name they need nothing of the sandbox, which is then not even asked.
WITHOUT_NODE = ("fake", "control-plane")
MOST_FAKE_NODES = 1000
# What a node can use instead of mounts, each with what it is.
ADDITIONS = {
    "intercept": "system calls are intercepted where mounts would change the node's view",
    "cgroupfs": "control groups are emulated, which needs intercept and brings it along",
}


class ClusterSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A request for a cluster.

    `level`: `auto` is the best that the sandbox carries, the others are that one or nothing. `arguments` maps
    components to flags in the form `--name=value`; `kubelet` is a kind of kubelet, or `auto` for the one that the facts
    suggest. `additions` are names of ADDITIONS, used although mounts would do. `published` are ports of the sandbox
    that lead to ports of the node; `registry` is the port of a registry on loopback, None for none.
    `proxy_for_pods`: pods that ask for it are told of the proxy in the caller's environment. `fake_nodes`: how many
    simulated nodes there are, beside a real one or in its place; None for one in its place.
    """

    name: str = "default"
    level: AskedLevel = "auto"
    kubelet: str = "auto"
    arguments: dict[str, tuple[str, ...]] = {}
    additions: tuple[str, ...] = ()
    published: tuple[PublishedPort, ...] = ()
    registry: int | None = None
    proxy_for_pods: bool = False
    fake_nodes: int | None = None

    def validate(self) -> None:
        """Raises UsageError naming the first thing that is wrong."""
        validate_name(self.name)
        if name := _unknown((self.kubelet,), KUBELETS):
            raise UsageError(f"unknown kubelet {name!r}", code="unknown-kubelet", hint=_one_of(KUBELETS))
        if name := _unknown(self.arguments, COMPONENT_NAMES):
            raise UsageError(f"unknown component {name!r}", code="unknown-component", hint=_one_of(COMPONENT_NAMES))
        if name := _unknown(self.additions, ADDITIONS):
            raise UsageError(f"unknown addition {name!r}", code="unknown-addition", hint=_one_of(ADDITIONS))
        places = [(each.address, each.port) for each in self.published]
        if len(set(places)) < len(places):
            raise UsageError("a port is published twice", code="invalid-publish", hint="leave one of them out")
        if self.fake_nodes is not None:
            _check_fake_nodes(self)
        if self.level in WITHOUT_NODE:
            self._refuse_what_needs_a_node()

    def _refuse_what_needs_a_node(self) -> None:
        option = f"--kubelet {self.kubelet}" if self.kubelet != "auto" else ""
        if self.additions:
            option = f"--with {','.join(self.additions)}"
        if self.published:
            option = f"-p {publish_text(self.published[0])}"
        if self.proxy_for_pods:
            option = "--proxy-for-pods"
        if option:
            raise UsageError(
                f"the level {self.level} has no real node, which {option} is for",
                code="needs-node",
                hint=f"kins up {self.name} {option}",
            )


def _check_fake_nodes(spec: ClusterSpec) -> None:
    assert spec.fake_nodes is not None
    if not 0 < spec.fake_nodes <= MOST_FAKE_NODES:
        raise UsageError(
            f"there cannot be {spec.fake_nodes} simulated nodes: 1 to {MOST_FAKE_NODES}",
            code="invalid-fake-nodes",
            hint="kins up --fake-nodes 3",
        )
    if spec.level == "control-plane":
        raise UsageError(
            "a control plane alone has no nodes, not even simulated ones",
            code="needs-node",
            hint=f"kins up {spec.name} --level fake --fake-nodes {spec.fake_nodes}",
        )


def _unknown(asked: Iterable[str], known: Collection[str]) -> str | None:
    return next((name for name in asked if name not in known), None)


def _one_of(known: Iterable[str]) -> str:
    return f"one of: {', '.join(known)}"


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

    `missing`: why the level is no higher; `limits`: sentences on what this level does not do here; `resolvers`: the
    addresses that answer for outside names; `egress`: whether a relay leads pods to the outside; `supplied`: programs
    of the sandbox's that the kubelet calls and that are missing, so that ours take their place; `pod_network`: whether
    pods have networks of their own, joined by a bridge, or the sandbox's; `fake_nodes`: how many nodes are simulated;
    `isolation`: whether the node's namespaces belong to the sandbox's user namespace, or to one of its own; in that one
    the network is another too, which a relay leads out of, unless pods share the sandbox's.
    """

    level: Level
    missing: tuple[Missing, ...] = ()
    limits: tuple[str, ...] = ()
    kubelet: KubeletDecision | None = None
    snapshotter: Literal["overlayfs", "native"] = "overlayfs"
    images_on: Literal["disk", "tmpfs"] = "disk"
    interception: bool = False
    control_groups: Literal["kernel", "emulated"] = "kernel"
    resolvers: tuple[str, ...] = ()
    egress: bool = False
    supplied: tuple[str, ...] = ()
    pod_network: Literal["bridge", "shared"] = "bridge"
    fake_nodes: int = 0
    isolation: Literal["sandbox", "user-namespace"] = "sandbox"

    @property
    def behind_relay(self) -> bool:
        """Whether the node's network is another one than the sandbox's."""
        return self.isolation == "user-namespace" and self.pod_network == "bridge"


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


def parse_publish(text: str) -> PublishedPort:
    """`[ADDRESS:]PORT:NODEPORT`, on loopback unless an address is given. Raises UsageError."""
    form = PUBLISH_PATTERN.fullmatch(text)
    if form is not None:
        address, port, node_port = form[1] or "127.0.0.1", int(form[2]), int(form[3])
        if _is_ipv4(address) and 0 < port < 65536 and 0 < node_port < 65536:
            return PublishedPort(address=address, port=port, node_port=node_port)
    raise UsageError(
        f"invalid -p {text!r}: it has the form [ADDRESS:]PORT:NODEPORT with an IPv4 address",
        code="invalid-publish",
        hint="kins up -p 8080:30080",
    )


def _is_ipv4(text: str) -> bool:
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return True


def publish_text(published: PublishedPort) -> str:
    """As `parse_publish` reads it."""
    return f"{published.address}:{published.port}:{published.node_port}"
