"""One small function per fact. Each runs in a forked process of its own and may do there what it likes.

A probe returns plain JSON data. OSError means that the thing does not work, and why. Each topic has a module, which
lists its probes by the names of their facts; how they are run is `kins.sandbox.probing`.
"""

from __future__ import annotations

from kins.sandbox.probes import (
    control_groups,
    devices,
    filesystems,
    interception,
    iptables,
    loopback,
    mounts,
    names,
    namespaces,
    network,
    programs,
    settings,
)
from kins.sandbox.probes.table import Answers, Several, Values

ANSWERS: Answers = {
    **namespaces.ANSWERS,
    **mounts.ANSWERS,
    **devices.ANSWERS,
    **filesystems.ANSWERS,
    **control_groups.ANSWERS,
    **network.ANSWERS,
    **loopback.ANSWERS,
}
VALUES: Values = {
    **filesystems.VALUES,
    **mounts.VALUES,
    **control_groups.VALUES,
    **settings.VALUES,
    **names.VALUES,
    **programs.VALUES,
    **network.VALUES,
    **iptables.VALUES,
    **interception.VALUES,
}
SEVERAL: Several = {**control_groups.SEVERAL, **interception.SEVERAL}
# Facts that no decision rests on. Only the doctor asks for them: in gVisor each process costs 10 to 20 ms.
DETAILS = frozenset(
    {
        "authorities",
        "bridge",
        "control_group_delegation",
        "entering_namespaces",
        "file_systems",
        "forwarding",
        "has_resolver_file",
        "iptables",
        "ipc_namespace",
        "linked_programs",
        "masking",
        "mount_namespace",
        "network_namespace",
        "other_programs",
        "pid_namespace",
        "pivot_root",
        "propagation",
        "proxies",
        "ranges_on_loopback",
        "root_shared",
        "routes",
        "seccomp",
        "uts_namespace",
        "veth",
    }
)
