"""One small function per fact. Each runs in a forked process of its own and may do there what it likes.

A probe returns plain JSON data. OSError means that the thing does not work, and why. Each topic has a module, which
lists its probes by the names of their facts; how they are run is `kins.sandbox.probing`.
"""

from __future__ import annotations

from kins.sandbox.probes import (
    control_groups,
    devices,
    filesystems,
    identity,
    interception,
    mounts,
    names,
    namespaces,
    network,
    programs,
    settings,
)
from kins.sandbox.probes.table import Answers, Probe, Values

ANSWERS: Answers = {
    **namespaces.ANSWERS,
    **mounts.ANSWERS,
    **devices.ANSWERS,
    **filesystems.ANSWERS,
    **network.ANSWERS,
    **interception.ANSWERS,
}
VALUES: Values = {
    **filesystems.VALUES,
    **control_groups.VALUES,
    **settings.VALUES,
    **names.VALUES,
    **programs.VALUES,
    **network.VALUES,
}
# Probes whose answers are several facts.
SEVERAL: dict[str, Probe] = {
    "identity": identity.identity,
    "control_groups_v2": control_groups.control_groups_v2,
}
