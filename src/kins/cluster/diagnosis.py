"""The doctor: the sandbox asked, its facts explained, the level that `kins up` would take and what is one thing away.

Nothing is changed. A cluster that runs meanwhile is not taken for a lack of the sandbox.
"""

from __future__ import annotations

import contextlib
import ipaddress
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from kins.cluster import home_directory
from kins.cluster.decisions import decide, resting_on
from kins.cluster.node_namespaces import hold_node_lock
from kins.cluster.spec import ClusterSpec, Decisions, Missing
from kins.components.versions import shipped_versions
from kins.errors import KinsError
from kins.network.addresses import LOAD_BALANCER_RANGE, POD_RANGE, SERVICE_RANGE
from kins.sandbox import Facts, probe
from kins.sandbox.doctor import (
    Alternative,
    Finding,
    KnownBlocker,
    alternatives,
    anonymous,
    findings,
    known_blockers,
)

RANGES = (POD_RANGE, SERVICE_RANGE, LOAD_BALANCER_RANGE)


class Diagnosis(msgspec.Struct, frozen=True, kw_only=True):
    """What this sandbox can do. `seconds`: how long the probes took; `running`: whether a cluster with a node runs here
    already, whose addresses then do not count."""

    level: str
    running: bool
    seconds: float
    missing: tuple[Missing, ...]
    limits: tuple[str, ...]
    findings: tuple[Finding, ...]
    alternatives: tuple[Alternative, ...]
    blockers: tuple[KnownBlocker, ...]
    facts: Facts


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A sandbox for the library of recorded facts, without anything that tells whose it is."""

    version: int = 1
    kins: str
    level: str
    missing: tuple[str, ...]
    facts: Facts


def diagnose() -> Diagnosis:
    """Ask this sandbox. Raises OSError where no directory for clusters can be had, without which there is no level."""
    running = _node_runs()
    with _place() as home:
        began = time.monotonic()
        facts = probe(home, details=True)
        seconds = round(time.monotonic() - began, 2)
    return explain(_without_own_ranges(facts) if running else facts, running=running, seconds=seconds)


def explain(facts: Facts, *, running: bool = False, seconds: float = 0.0) -> Diagnosis:
    """What follows from facts."""
    decisions = decide(facts, ClusterSpec())
    # Those inside of a user namespace, where the node would be in one.
    rest = resting_on(facts, decisions)
    hints = [(each.hint, each.fact) for each in decisions.missing]
    return Diagnosis(
        level=decisions.level,
        running=running,
        seconds=seconds,
        missing=decisions.missing,
        limits=decisions.limits,
        findings=tuple(findings(rest)),
        alternatives=tuple(alternatives(facts, hints, lambda other: outcome(decide(other, ClusterSpec())))),
        blockers=tuple(known_blockers(rest)),
        facts=facts,
    )


def report(diagnosis: Diagnosis) -> Report:
    """What can be given away of a diagnosis."""
    return Report(
        kins=shipped_versions()["kins"],
        level=diagnosis.level,
        missing=tuple(each.fact for each in diagnosis.missing),
        facts=anonymous(diagnosis.facts, RANGES),
    )


def outcome(decisions: Decisions) -> dict[str, str]:
    """Decisions word by word, as far as a user meets them."""
    if decisions.level != "node":
        return {"level": decisions.level}
    told = msgspec.structs.asdict(decisions)
    words = {name: str(value) for name, value in told.items() if isinstance(value, str)}
    words |= {name: "yes" if value else "no" for name, value in told.items() if isinstance(value, bool)}
    if decisions.kubelet is not None:
        words["kubelet"] = decisions.kubelet.kind
    return words | {"outside names": "yes" if decisions.resolvers else "no"}


@contextlib.contextmanager
def _place() -> Iterator[Path]:
    """Where clusters are kept; if nothing is there yet, nothing is there afterwards."""
    home = home_directory.path()
    made = [each for each in (home, *home.parents) if not each.exists()]
    home.mkdir(parents=True, exist_ok=True)
    try:
        yield home
    finally:
        with contextlib.suppress(OSError):  # a cluster came meanwhile
            for each in made:
                each.rmdir()


def _node_runs() -> bool:
    try:
        hold_node_lock().close()
    except KinsError:
        return True
    return False


def _without_own_ranges(facts: Facts) -> Facts:
    own = [ipaddress.ip_network(each) for each in RANGES]

    def is_own(used: str) -> bool:
        network = ipaddress.ip_interface(used).network
        return any(network.version == each.version and network.subnet_of(each) for each in own)  # type: ignore[arg-type]

    return msgspec.structs.replace(facts, used_ranges=tuple(each for each in facts.used_ranges if not is_own(each)))
