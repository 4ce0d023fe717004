"""What stands between containerd and its programs where pods share one network (`engine/internal/sharedpods`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kins.components.containerd import RUNC, SHIM
from kins.components.layout import BINARIES
from kins.components.objects import ApiObject
from kins.components.settings import Settings

PROGRAM = BINARIES / "kins-cni"
# The CNI plugin that containerd runs first for each pod.
LOOPBACK = "loopback"
FILE_NAME = "shared-pods.json"


# Under which names it is called.
NAMES = (SHIM, RUNC, LOOPBACK)


def configuration(settings: Settings, addresses: Path, rules: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What it reads, beside the links of these names. `addresses` is where the CNI plugin keeps who has which one;
    `rules` lead from the cluster's addresses to those of sockets."""
    return {
        "shim": str(BINARIES / SHIM),
        "runc": str(BINARIES / RUNC),
        "interceptor": str(BINARIES / "kins-intercept"),
        "addresses": str(addresses),
        "node": settings.socket(settings.node_address),
        "rules": list(rules),
    }


def node(settings: Settings) -> ApiObject:
    """The Node with its addresses, made before its kubelet would make it: that finds none on a link."""
    addresses = [
        {"type": "InternalIP", "address": settings.node_address},
        {"type": "Hostname", "address": settings.node_name},
    ]
    return ApiObject(
        collection="/api/v1/nodes",
        content={
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": settings.node_name, "labels": {"kubernetes.io/hostname": settings.node_name}},
            "status": {"addresses": addresses},
        },
        only_made=True,
    )
