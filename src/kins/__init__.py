"""Kubernetes in sandboxes: the Python API that the command line, tests and other programs use.

    from kins import Cluster
    cluster = Cluster.up("default")
    ...
    cluster.down()

Names are imported on first use, so that `kins --help` does not wait for what it does not need.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from kins.errors import KinsError, UsageError

if TYPE_CHECKING:
    from kins.cluster.cluster import Cluster
    from kins.cluster.creation import Created
    from kins.cluster.deletion import Deleted
    from kins.cluster.diagnosis import Diagnosis, diagnose
    from kins.cluster.dry_run import Planned
    from kins.cluster.events import Event
    from kins.cluster.spec import ClusterSpec
    from kins.cluster.status import Status
    from kins.cluster.stopping import Stopped
    from kins.components import PublishedPort

__all__ = [
    "Cluster",
    "ClusterSpec",
    "Created",
    "Deleted",
    "Diagnosis",
    "Event",
    "KinsError",
    "Planned",
    "PublishedPort",
    "Status",
    "Stopped",
    "UsageError",
    "diagnose",
]

_HOMES = {
    "Cluster": "kins.cluster.cluster",
    "ClusterSpec": "kins.cluster.spec",
    "Created": "kins.cluster.creation",
    "Deleted": "kins.cluster.deletion",
    "Diagnosis": "kins.cluster.diagnosis",
    "Event": "kins.cluster.events",
    "Planned": "kins.cluster.dry_run",
    "PublishedPort": "kins.components",
    "Status": "kins.cluster.status",
    "Stopped": "kins.cluster.stopping",
    "diagnose": "kins.cluster.diagnosis",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
