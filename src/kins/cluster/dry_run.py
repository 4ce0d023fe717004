"""What `up` would do in this sandbox, told instead of done. Nothing is left: no directory, no file, no lock."""

from __future__ import annotations

import msgspec

from kins.cluster import home_directory, planning, store
from kins.cluster.cluster_plan import ClusterPlan
from kins.cluster.node_namespaces import hold_node_lock
from kins.cluster.preparation import Surroundings
from kins.cluster.script import render
from kins.cluster.spec import WITHOUT_NODE, ClusterSpec, Decisions
from kins.cluster.surroundings import check_descriptors, check_room
from kins.errors import KinsError


class PlannedStep(msgspec.Struct, frozen=True, kw_only=True):
    """A change of the sandbox: its kind, the fact or need that asks for it, and a line of shell that does the same."""

    kind: str
    because: str
    shell: str


class PlannedFile(msgspec.Struct, frozen=True, kw_only=True):
    """Something in the cluster's directory, and who needs it."""

    path: str
    because: str


class PlannedComponent(msgspec.Struct, frozen=True, kw_only=True):
    """A program that is kept running: its command line, its whole environment, and the components that it talks to."""

    name: str
    argv: tuple[str, ...]
    environment: dict[str, str]
    needs: tuple[str, ...]


class Planned(msgspec.Struct, frozen=True, kw_only=True):
    """A cluster that is not there. `script` is all of it as a shell script."""

    name: str
    level: str
    decisions: Decisions
    files: tuple[PlannedFile, ...]
    steps: tuple[PlannedStep, ...]
    components: tuple[PlannedComponent, ...]
    script: str


def dry_run(spec: ClusterSpec) -> Planned:
    """Ask the sandbox, and tell. Raises KinsError for what `up` would refuse, and `already-running`."""
    planning.check_request(spec)
    check_descriptors()
    files = store.layout(spec.name)
    if store.supervisor(files) is not None:
        raise KinsError(
            f"cluster {spec.name!r} is running: there is nothing to do", code="already-running", hint="kins plan other"
        )
    old = store.record(files)
    wanted = planning.merged(spec, old)
    if wanted.level not in WITHOUT_NODE:
        hold_node_lock().close()
    with home_directory.lent() as home:
        check_room(home)
        record, facts = planning.planned(wanted, old, home)
    return told(ClusterPlan(files, record, facts), Surroundings.here())


def told(plan: ClusterPlan, surroundings: Surroundings) -> Planned:
    """A plan in words."""
    prepared = [*plan.control_plane_files, *plan.node_files(surroundings)]
    steps = [*plan.steps, *plan.steps_in_control_groups]
    return Planned(
        name=plan.record.spec.name,
        level=plan.record.decisions.level,
        decisions=plan.record.decisions,
        files=tuple(PlannedFile(path=each.path, because=each.because) for each in prepared),
        steps=tuple(
            PlannedStep(kind=type(each).__name__, because=each.because, shell=each.describe()) for each in steps
        ),
        components=tuple(
            PlannedComponent(
                name=each.name,
                argv=(*each.launcher, *each.argv),
                environment=each.environment,
                needs=each.needs,
            )
            for each in plan.components.values()
        ),
        script=render(plan, surroundings),
    )
