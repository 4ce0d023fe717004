"""What the environment's mounts cannot give, and interception can: the rules, and whether there are any."""

from __future__ import annotations

from pathlib import Path

from kins import cgroupfs, intercept
from kins.cluster.kubelet_view import HIERARCHY, USAGE, USAGE_PER_CPU
from kins.components import kubelet
from kins.components.cgroupfs import CONTROL_GROUPS, VERSION
from kins.intercept import Redirect, Rule
from kins.sandbox import Facts
from kins.sandbox.levels import (
    control_group_layout,
    has_identities,
    has_usage_of_root,
    mounts_give_settings,
    needs_emulated_control_groups,
)

# The groups of pods, by those that they are in (pkg/kubelet/cm, with cgroupsPerQOS and the driver cgroupfs).
PARENTS = ("", "kubepods/", "kubepods/besteffort/", "kubepods/burstable/")


def emulates_control_groups(facts: Facts) -> bool:
    """Whether control groups are those of `kins.cgroupfs`, which readers are led to."""
    return needs_emulated_control_groups(facts) and facts.fuse.works and facts.interception.works


def traces_settings(facts: Facts) -> bool:
    """Whether the kernel's settings are files that calls are led to, because no mount makes them writable."""
    return not mounts_give_settings(facts) and facts.interception.works


def rules(facts: Facts, settings: Path) -> list[Rule]:
    """The calls to intercept; none where mounts suffice, or where the sandbox lets nothing be intercepted. `settings`
    is where the files of `traces_settings` are."""
    if not facts.interception.works:
        return []
    found: list[Rule] = []
    if traces_settings(facts):
        found += intercept.node_rules(kubelet.SYSCTLS, str(settings))
    if emulates_control_groups(facts):
        found += [intercept.convert(each) for each in cgroupfs.rules(CONTROL_GROUPS, VERSION)]
    elif lacks_usage_per_cpu(facts):
        found += _usage_per_cpu()
    if not has_identities(facts):
        found.append(intercept.OneId())
    return found


def lacks_usage_per_cpu(facts: Facts) -> bool:
    """Whether a stock kubelet looks in vain for a file that this kernel's control groups do not have."""
    return control_group_layout(facts) in ("v1", "v1-to-mount") and not has_usage_of_root(facts)


def _usage_per_cpu() -> list[Rule]:
    """A kubelet of ours gets it in a mount namespace of its own (`kins.cluster.kubelet_view`); here it may be any
    process of the command, such as k3s, which is kubelet and runtime's parent in one."""
    places = [HIERARCHY, *(f"{HIERARCHY}/{each}*" for each in PARENTS)]
    return [Redirect(f"{place}/{USAGE_PER_CPU}", f"{place}/{USAGE}") for place in places]
