"""The doctor: each fact explained, recorded sandboxes judged as they were, nothing private in a report."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.documents import ROOT, tables
from tests.harness.recorded import FACTS, SANDBOXES

from kins.cluster.decisions import decide, resting_on
from kins.cluster.diagnosis import RANGES, Diagnosis, Report, explain, outcome, report
from kins.cluster.node_plan import node_steps
from kins.cluster.planning import settings
from kins.cluster.spec import ClusterSpec, Record
from kins.components import Layout
from kins.components.settings import Ports
from kins.sandbox import Answer, Facts
from kins.sandbox.doctor import EXPLANATIONS, Finding, anonymous, known_blockers
from kins.sandbox.doctor.alternatives import flipped
from kins.sandbox.levels import needs_tracer
from kins.sandbox.probes import ANSWERS, SEVERAL, VALUES
from kins.sys.process import CAP_SYS_ADMIN

# What is expected of each recorded sandbox: the level, where unpacked images lie, the kubelet; and what keeps a node
# away.
EXPECTED: dict[str, tuple[str, str, str, set[str]]] = {
    "native-root": ("node", "disk", "stock", set()),
    "native-docker-capabilities": ("node", "disk", "stock", set()),
    "native-user": ("node", "disk", "stock", set()),
    "gvisor-overlay": ("node", "tmpfs", "no-cadvisor", set()),
    "gvisor-9p": ("node", "tmpfs", "no-cadvisor", set()),
    "gvisor-docker-capabilities": ("node", "disk", "no-cadvisor", set()),
    "gvisor-9p-docker-capabilities": ("node", "disk", "no-cadvisor", set()),
    "gvisor-sandbox-network": ("node", "tmpfs", "no-cadvisor", set()),
    "gvisor-host-network": ("node", "tmpfs", "no-cadvisor", set()),
    "gvisor-docker-capabilities-host-network": ("node", "disk", "no-cadvisor", set()),
    "gvisor-of-2022": ("fake", "", "", {"namespaces", "mounts", "control_groups", "sysctls"}),
    "native-read-only-kernel": ("node", "disk", "stock", set()),
    "native-user-without-namespaces": (
        "fake",
        "",
        "",
        {"namespaces", "mounts", "pod_network", "control_group_creation"},
    ),
    "gvisor-user": ("node", "disk", "stock", set()),
}
RECORDED = sorted(path.stem for path in FACTS.glob("*.json"))
EXPLAINED = [each.fact for explained in EXPLANATIONS.values() for each in explained]


def recorded(name: str) -> Report:
    """What a real sandbox said."""
    return msgspec.json.decode((FACTS / f"{name}.json").read_bytes(), type=Report)


def finding(diagnosis: Diagnosis, fact: str) -> Finding:
    """One fact of a diagnosis."""
    return next(each for each in diagnosis.findings if each.fact == fact)


# The library


def test_each_sandbox_of_the_library_is_expected_to_be_something() -> None:
    assert set(RECORDED) == set(EXPECTED) == set(SANDBOXES)


@pytest.mark.parametrize("name", RECORDED)
def test_a_recorded_sandbox_carries_what_is_expected(name: str) -> None:
    level, images_on, kubelet, missing = EXPECTED[name]
    found = recorded(name)
    decisions = decide(found.facts, ClusterSpec())
    assert decisions.level == found.level == level
    assert {each.fact for each in decisions.missing} == set(found.missing) == missing
    if level == "node":
        assert decisions.kubelet is not None
        assert (decisions.images_on, decisions.kubelet.kind) == (images_on, kubelet)


@pytest.mark.parametrize("name", RECORDED)
def test_every_fact_of_a_recorded_sandbox_was_asked(name: str) -> None:
    for field in msgspec.structs.fields(Facts):
        value = getattr(recorded(name).facts, field.name)
        if isinstance(value, Answer):
            assert value.works == (not value.cause), field.name
            assert "not asked" not in value.cause, field.name
            assert "the probe failed" not in value.cause, field.name


@pytest.mark.parametrize("name", RECORDED)
def test_what_a_lack_of_privilege_costs_is_what_those_with_it_have(name: str) -> None:
    """The one change that the doctor names for a sandbox without privileges gives the level of the one with them."""
    facts = recorded(name).facts
    found = [each for each in explain(facts).alternatives if "CAP_SYS_ADMIN and" in each.change]
    assert [each.level for each in found] == ([] if facts.capabilities >> CAP_SYS_ADMIN & 1 else ["node"])


# Explanations


def test_every_fact_is_explained_once() -> None:
    """A new fact needs an entry in kins.sandbox.doctor, and one in docs/reference/facts.md."""
    assert sorted(EXPLAINED) == sorted(set(Facts.__struct_fields__) - {"version", "inside", "network_inside"})


def test_every_fact_has_a_probe() -> None:
    asked = {*ANSWERS, *VALUES}
    several = {name for probe, failed in SEVERAL.values() for name in failed("")}
    known = {"version", "uid", "capabilities", "memory", "cores", "descriptors", "kernel_release", "seccomp_order"}
    known |= {"identities", "user_namespace", "inside", "network_inside"}  # all but the first: the probes again
    assert asked | several | known == set(Facts.__struct_fields__)


def test_the_reference_lists_every_fact() -> None:
    rows = [row for table in tables((ROOT / "docs" / "reference" / "facts.md").read_text()) for row in table]
    assert [row[0].strip("`") for row in rows] == EXPLAINED
    assert all(all(row) for row in rows)


@pytest.mark.parametrize("name", RECORDED)
def test_a_finding_says_what_follows(name: str) -> None:
    for each in explain(recorded(name).facts).findings:
        assert each.found, each.fact
        assert each.consequence, each.fact
        assert (each.state == "cured") == bool(each.cure) == bool(each.cost), each.fact


@pytest.mark.parametrize("name", [name for name in RECORDED if EXPECTED[name][0] == "node"])
def test_what_a_step_is_for_is_cured_and_no_more(name: str) -> None:
    """Steps name the fact that asks for them: each such fact is one that does not work as it is."""
    facts = recorded(name).facts
    diagnosis = explain(facts)
    because = steps_because(facts)
    states = {each.fact: each.state for each in diagnosis.findings}
    # Where images are copied on disk, the cure for overlays is no step.
    copied = not facts_of_node(facts).overlay_on_tmpfs.works
    # Where there is a tracer in any case, two more are rules of its.
    traced = needs_tracer(facts_of_node(facts))
    asked = ("has_hosts_file", *(() if traced else ("kernel_messages", "sysctls")))
    for fact in (*asked, *(() if copied else ("overlay_on_data",))):
        assert (fact in because) == (states[fact] == "cured"), fact


def facts_of_node(facts: Facts) -> Facts:
    """What the node rests on."""
    return resting_on(facts, decide(facts, ClusterSpec()))


def steps_because(facts: Facts) -> set[str]:
    """The reasons of all steps of a node with these facts."""
    spec = ClusterSpec()
    ports = Ports(**{field.name: 20000 + number for number, field in enumerate(msgspec.structs.fields(Ports))})
    decisions = decide(facts, spec)
    record = Record(identity="abcdef", spec=spec, decisions=decisions, settings=settings(spec, decisions, ports))
    steps = node_steps(Layout(Path("/clusters/default")), record, resting_on(facts, decisions))
    return {step.because for step in steps}


# Levels one thing away


@pytest.mark.parametrize("name", RECORDED)
def test_an_alternative_is_what_is_decided_then(name: str) -> None:
    facts = recorded(name).facts
    now = outcome(decide(facts, ClusterSpec()))
    for each in explain(facts).alternatives:
        if len(each.facts) == 1:
            other = flipped(facts, each.facts[0])
            assert other is not None
            then = outcome(decide(other, ClusterSpec()))
            assert then["level"] == each.level
            assert all(then[key] == value != now[key] for key, value in each.differences.items())
        assert each.level != now["level"] or each.differences


def test_a_fact_that_decides_is_among_the_alternatives() -> None:
    diagnosis = explain(recorded("gvisor-overlay").facts)
    changes = {each.change: each for each in diagnosis.alternatives}
    assert changes["with overlay_on_data"].differences["images_on"] == "disk"
    assert changes["with usage_per_cpu"].differences == {"kubelet": "stock"}
    assert changes["without pod_network"].differences == {"pod_network": "shared", "egress": "no"}


# What stopped others


def test_blockers_are_here_where_their_cause_is() -> None:
    here = {
        name: {each.facts[0] for each in known_blockers(recorded(name).facts) if each.here}
        for name in ("native-root", "gvisor-overlay")
    }
    assert here["gvisor-overlay"] >= {"usage_per_cpu", "kernel_messages", "overlay_on_data", "kernel_release"}
    assert not here["native-root"] & {"usage_per_cpu", "kernel_messages", "overlay_on_data", "masking"}


def test_a_full_disk_and_an_old_kernel_are_recognised() -> None:
    facts = recorded("native-root").facts
    data = msgspec.structs.replace(facts.file_systems["data"], free=0)
    full = msgspec.structs.replace(facts, file_systems={"data": data}, kernel_release="4.4.0")
    assert {"file_systems", "kernel_release"} <= {each.facts[0] for each in known_blockers(full) if each.here}


@pytest.mark.parametrize("name", RECORDED)
def test_a_blocker_names_facts(name: str) -> None:
    for each in known_blockers(recorded(name).facts):
        assert set(each.facts) <= set(Facts.__struct_fields__)


# Reports

PRIVATE: dict[str, Any] = {
    "resolvers": {"10.99.1.53": "answers", "127.0.0.11": "silent"},
    "used_ranges": ("127.0.0.1/8", "10.99.1.7/24", "10.42.7.0/24", "0.0.0.0/0"),
    "kernel_release": "6.1.9-somebodys-own",
    "overlay_on_data": Answer(False, "[Errno 22] mount overlay: Invalid argument: '/home/somebody/.local/probe-7'"),
    "kernel_messages": Answer(False, "[Errno 2] No such file or directory: '/dev/kmsg'"),
    "control_groups_v2": "/somebody/cgroup",
    "uid": 1234,
}


def test_a_report_tells_nothing_of_its_sender() -> None:
    facts = msgspec.structs.replace(recorded("native-root").facts, **PRIVATE)
    text = msgspec.json.encode(report(explain(facts))).decode()
    assert not re.search(r"somebody|10\.99|1234|probe-7", text)
    sent = json.loads(text)["facts"]
    assert sent["resolvers"] == {"192.0.2.1": "answers", "127.0.0.11": "silent"}
    assert sent["used_ranges"] == ["0.0.0.0/0", "10.42.0.0/16", "127.0.0.1/8"]
    assert sent["kernel_release"] == "6.1.9"
    assert sent["kernel_messages"]["cause"] == PRIVATE["kernel_messages"].cause


def test_a_report_is_judged_as_its_sender_was() -> None:
    facts = msgspec.structs.replace(recorded("gvisor-overlay").facts, **PRIVATE)
    sent = anonymous(facts, RANGES)
    before, after = decide(facts, ClusterSpec()), decide(sent, ClusterSpec())
    assert (after.level, after.images_on) == (before.level, before.images_on)
    assert {each.fact for each in after.missing} == {each.fact for each in before.missing}
    assert len(after.resolvers) == len(before.resolvers)
