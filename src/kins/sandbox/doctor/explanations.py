"""All explanations by topic, in the order in which they are shown."""

from __future__ import annotations

from kins.sandbox.doctor import groups, isolation, network, storage, surroundings
from kins.sandbox.doctor.model import Explanation, Finding
from kins.sandbox.facts import Facts

EXPLANATIONS: dict[str, tuple[Explanation, ...]] = {
    "identity": isolation.IDENTITY,
    "size": surroundings.SIZE,
    "namespaces": isolation.NAMESPACES,
    "mounts": storage.MOUNTS,
    "files": storage.FILES,
    "devices": storage.DEVICES,
    "control groups": groups.GROUPS,
    "settings": surroundings.SETTINGS,
    "network": network.NETWORK,
    "names": network.NAMES,
    "system calls": isolation.CALLS,
    "programs": surroundings.FILES_AND_PROGRAMS,
}


def findings(facts: Facts) -> list[Finding]:
    """Each fact, explained."""
    return [each.finding(topic, facts) for topic, explained in EXPLANATIONS.items() for each in explained]
