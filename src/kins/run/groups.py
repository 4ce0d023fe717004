"""The control groups that node software may make, and how they go at its end."""

from __future__ import annotations

from kins.cluster.sandbox_steps import hierarchy_steps
from kins.components.cgroupfs import CONTROL_GROUPS
from kins.plan import AnyStep
from kins.plan.control_groups import ClearControlGroups, EnterControlGroups, Hierarchy
from kins.plan.kernel import MakeControlGroup
from kins.run.isolation import Isolation
from kins.sandbox import Facts
from kins.sandbox.levels import control_group_layout
from kins.sys import namespaces, user_namespaces


def can_be_the_root(isolation: Isolation) -> bool:
    """Whether a process there can see its own control group as the root (cgroup_namespaces(7)), by doing it."""
    privately = namespaces if isolation == "sandbox" else user_namespaces
    try:
        privately.run_with_private_mounts(lambda: namespaces.unshare(namespaces.CLONE_NEWCGROUP))
    except OSError:
        return False
    return True


def group_steps(facts: Facts, name: str, *, as_root: bool) -> list[AnyStep]:
    """Hierarchies of the kernel's to work in, where there can be any. `as_root` is the answer of `can_be_the_root`.

    Mounted ones are others' too: there the environment gets a group of that name for itself, which it sees as the
    root. Ones that are mounted for it alone it has as they are.
    """
    if control_group_layout(facts) == "v1-to-mount":
        return [*hierarchy_steps(facts), *_clearing(facts)]
    if not (as_root and facts.control_group_creation.works):
        return []
    hierarchies = _mounted(facts)
    because = "control_group_creation"
    groups = [MakeControlGroup(path=f"{each.mount_point}/{name}", because=because) for each in hierarchies]
    return [*groups, EnterControlGroups(hierarchies=hierarchies, name=name, because=because)]


def _clearing(facts: Facts) -> list[AnyStep]:
    because = "control_groups_v1_mountable"
    return [
        ClearControlGroups(hierarchy=f"{CONTROL_GROUPS}/{each}", controllers=each, because=because)
        for each in facts.control_groups_v1_mountable
    ]


def _mounted(facts: Facts) -> tuple[Hierarchy, ...]:
    found = [
        Hierarchy(mount_point=place, controllers=_options(controllers))
        for place, controllers in facts.control_groups_v1.items()
        if controllers
    ]
    if facts.control_groups_v2 is not None:
        found.append(Hierarchy(mount_point=facts.control_groups_v2))
    return tuple(found)


def _options(controllers: tuple[str, ...]) -> str:
    """What mount(2) takes for a hierarchy: one without controllers has a name, and must be told so."""
    named = all(each.startswith("name=") for each in controllers)
    return ",".join(["none", *controllers] if named else controllers)
