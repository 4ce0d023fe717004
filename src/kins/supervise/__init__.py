"""Keeping processes alive: the process table, readiness, restarts with back-off, logs within a size, an orderly stop.

Knows processes, not Kubernetes: what runs is declared in `kins.components`, and a cluster's life is in `kins.cluster`.
"""

from kins.supervise.component import Component
from kins.supervise.supervisor import Supervisor

__all__ = ["Component", "Supervisor"]
