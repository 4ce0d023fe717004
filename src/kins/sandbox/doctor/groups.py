"""Control groups."""

from __future__ import annotations

from kins.sandbox.doctor.model import Cure, Explanation, always
from kins.sandbox.facts import Facts
from kins.sandbox.levels import PRIVILEGE, control_group_layout, has_usage_of_root, needs_emulated_control_groups

EMULATION = Cure(
    "control groups emulated in FUSE, to which a tracer leads",
    "some ms for each file of a group",
    lambda facts: facts.interception.works and facts.fuse.works and facts.mounts.works,
)


def _layout(*wanted: str) -> Cure:
    words = {
        "v1": "the version 1 hierarchies that are mounted",
        "v2": "the version 2 hierarchy that is mounted",
        "v1-to-mount": "version 1 hierarchies mounted in the node's namespace",
    }
    step = "; or ".join(words[each] for each in wanted)
    return Cure(step, "none", lambda facts: control_group_layout(facts) in wanted)


def _mounted(facts: Facts) -> str:
    names = sorted(name for each in facts.control_groups_v1.values() for name in each)
    return ", ".join(names) or "none mounted"


def _unified(facts: Facts) -> str:
    if facts.control_groups_v2 is None:
        return "none mounted"
    return f"{facts.control_groups_v2} with {', '.join(facts.control_groups_v2_controllers) or 'no controllers'}"


def _mountable(facts: Facts) -> str:
    mounted = bool(facts.control_groups_v1) or facts.control_groups_v2 is not None
    return ", ".join(facts.control_groups_v1_mountable) or ("not asked: some are mounted" if mounted else "none")


NEED = "the kubelet and runc place containers in control groups with cpu, cpuset, memory and pids"
GROUPS = (
    Explanation(
        "control_groups_v1",
        NEED,
        PRIVILEGE,
        cures=(_layout("v2"), _layout("v1-to-mount"), EMULATION),
        works=lambda facts: control_group_layout(facts) == "v1",
        shown=_mounted,
    ),
    Explanation(
        "control_groups_v1_mountable",
        f"{NEED}; where no hierarchy is mounted they are mounted for the node",
        PRIVILEGE,
        cures=(_layout("v1"), _layout("v2"), EMULATION),
        works=lambda facts: control_group_layout(facts) == "v1-to-mount",
        shown=_mountable,
    ),
    Explanation(
        "control_groups_v2",
        NEED,
        "docker run --cgroupns private, with a writable /sys/fs/cgroup",
        cures=(_layout("v1"), _layout("v1-to-mount"), EMULATION),
        works=lambda facts: control_group_layout(facts) == "v2",
        shown=_unified,
    ),
    Explanation(
        "control_groups_v2_controllers",
        "limits of containers need a controller each",
        "",
        works=always,
        shown=lambda facts: ", ".join(facts.control_groups_v2_controllers) or "none",
    ),
    Explanation(
        "control_group_creation",
        "the node makes a group of its own in each hierarchy that is mounted",
        "mount /sys/fs/cgroup writable (docker run --privileged)",
        cures=(EMULATION,),
    ),
    Explanation(
        "control_group_delegation",
        "in a version 2 hierarchy a group hands its controllers on to those of pods",
        "a group whose parent has them in cgroup.subtree_control (systemd: Delegate=yes)",
        cures=(_layout("v1"), _layout("v1-to-mount"), EMULATION),
    ),
    Explanation(
        "usage_per_cpu",
        "cAdvisor reads cpuacct.usage_percpu of the root group, drops the group's figures without it, and then no "
        "stock kubelet gets ready",
        "a kernel whose cpuacct has the file; gVisor's has not (September 2026)",
        cures=(
            Cure(
                "the emulated control groups, which are needed here anyway, have it",
                "none",
                needs_emulated_control_groups,
            ),
            Cure("version 2 hierarchies never have the file, and cAdvisor knows", "none", has_usage_of_root),
            Cure(
                "a kubelet with its own source of figures (kins up --kubelet no-cadvisor, the choice of auto)",
                "no /metrics/cadvisor of file systems and the like",
                always,
            ),
        ),
        works=lambda facts: facts.usage_per_cpu,
        shown=lambda facts: "there" if facts.usage_per_cpu else "there is no cpuacct.usage_percpu",
    ),
)
