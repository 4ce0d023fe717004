"""Simulated nodes: which there are, what marks them, and that a cluster stays what it was made as."""

from __future__ import annotations

import ipaddress
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kins.cluster import planning
from kins.cluster.api import is_ready_simulated_node
from kins.cluster.decisions import SIMULATED_LIMIT, decide
from kins.cluster.diagnosis import Report
from kins.cluster.identities import control_plane_identities
from kins.cluster.spec import ClusterSpec, Decisions, Level, Missing, Record
from kins.components import Settings, kwok
from kins.components.settings import Ports
from kins.errors import KinsError
from kins.network.addresses import POD_RANGE, SERVICE_RANGE, SIMULATED_NODE_RANGE, SIMULATED_POD_RANGE
from kins.sandbox import Facts

FACTS = Path(__file__).parent / "facts"
PORTS = Ports(**{field.name: 40001 + order for order, field in enumerate(msgspec.structs.fields(Ports))})
MISSING = Missing(fact="mounts", cause="EPERM", consequence="no volumes", hint="be root")
# What records did not have before there were simulated nodes.
NEWER = {"spec": "fake_nodes", "decisions": "fake_nodes", "settings": "simulation"}


def recorded(name: str) -> Facts:
    """The facts of a sandbox."""
    return msgspec.json.decode((FACTS / f"{name}.json").read_bytes(), type=Report).facts


def settings_of(sandbox: str, spec: ClusterSpec) -> Settings:
    """What a request comes to in a sandbox."""
    return planning.settings(spec, decide(recorded(sandbox), spec), PORTS)


def made(spec: ClusterSpec, decisions: Decisions) -> Record:
    """A cluster that was made of a request."""
    settings = planning.settings(spec, decisions, PORTS)
    return Record(identity="0a1b2c", spec=spec, decisions=decisions, settings=settings)


# Which there are


@pytest.mark.parametrize(
    ("sandbox", "asked", "level", "number"),
    [
        ("gvisor-overlay", None, "node", 0),
        ("gvisor-overlay", 3, "node", 3),
        ("gvisor-of-2022", None, "fake", 1),
        ("gvisor-of-2022", 3, "fake", 3),
    ],
)
def test_they_are_beside_a_node_or_in_its_place(sandbox: str, asked: int | None, level: Level, number: int) -> None:
    spec = ClusterSpec(fake_nodes=asked)
    decisions = decide(recorded(sandbox), spec)
    assert (decisions.level, decisions.fake_nodes) == (level, number)
    assert (SIMULATED_LIMIT in decisions.limits) == (number > 0)
    simulation = settings_of(sandbox, spec).simulation
    if simulation is None:
        assert number == 0
        return
    assert simulation.beside == (level == "node")
    assert list(simulation.nodes) == [f"default-fake-{each}" for each in range(number)]
    assert len(set(simulation.nodes.values())) == number


def test_at_level_fake_the_sandbox_is_not_asked(tmp_path: Path) -> None:
    record, facts = planning.planned(ClusterSpec(level="fake", fake_nodes=2), None, tmp_path)
    assert facts is None
    assert (record.decisions.level, record.decisions.missing, record.decisions.kubelet) == ("fake", (), None)
    assert record.settings.simulation is not None
    assert len(record.settings.simulation.nodes) == 2


@pytest.mark.parametrize("cluster", ["a", "a" * 57, "a" * 58])
def test_their_names_fit_into_a_label(cluster: str) -> None:
    names = [kwok.node_name(cluster, number) for number in (0, 9, 999)]
    assert len(set(names)) == len(names)
    assert all(len(name) <= 63 and name.startswith(cluster[:50]) for name in names)


def test_their_addresses_are_nobody_elses() -> None:
    ranges = [
        ipaddress.ip_network(each) for each in (SIMULATED_POD_RANGE, SIMULATED_NODE_RANGE, POD_RANGE, SERVICE_RANGE)
    ]
    assert not any(one.overlaps(other) for one in ranges for other in ranges if one is not other)
    tests_of_devices = ipaddress.ip_network("198.18.0.0/15")  # RFC 2544
    assert all(each.subnet_of(tests_of_devices) for each in ranges[:2])


# What marks them


def nodes(sandbox: str, number: int) -> list[dict[str, Any]]:
    """The Node objects of a cluster."""
    simulation = settings_of(sandbox, ClusterSpec(fake_nodes=number)).simulation
    assert simulation is not None
    return [each.content for each in kwok.objects(simulation) if each.content["kind"] == "Node"]


def test_each_is_marked_for_people_and_for_programs() -> None:
    for node in nodes("gvisor-of-2022", 2):
        metadata = node["metadata"]
        assert metadata["annotations"] == {"kwok.x-k8s.io/node": "fake"}, "what kwok itself goes by"
        assert metadata["labels"]["type"] == "kwok"
        assert "node-role.kubernetes.io/fake" in metadata["labels"], "`kubectl get nodes` shows it"
        assert metadata["labels"]["kubernetes.io/hostname"] == metadata["name"]


def test_pods_for_a_real_node_are_kept_away() -> None:
    taint = {"key": "kwok.x-k8s.io/node", "value": "fake", "effect": "NoSchedule"}
    assert [node["spec"]["taints"] for node in nodes("gvisor-overlay", 2)] == [[taint], [taint]]
    assert not any("spec" in node for node in nodes("gvisor-of-2022", 2))


def test_their_kubelet_has_a_certificate_for_where_it_is() -> None:
    (identity,) = [
        each
        for each in control_plane_identities(settings_of("gvisor-of-2022", ClusterSpec()))
        if each.common_name == kwok.USER
    ]
    assert identity.ip_addresses == (kwok.ADDRESS,)
    assert all(
        {"type": kwok.ADDRESS_TYPE, "address": kwok.ADDRESS} in node["status"]["addresses"]
        for node in nodes("gvisor-of-2022", 2)
    )


def test_one_is_there_when_pods_get_onto_it() -> None:
    ready = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    assert is_ready_simulated_node(ready)
    assert is_ready_simulated_node(ready | {"spec": {"taints": [{"key": kwok.MARK, "effect": "NoSchedule"}]}})
    assert not is_ready_simulated_node(
        ready | {"spec": {"taints": [{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}]}}
    )
    assert not is_ready_simulated_node({"status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}})


# A cluster stays what it was made as


@pytest.mark.parametrize("level", ["fake", "control-plane"])
def test_it_has_its_level_and_its_reasons_at_the_next_start(level: Level, tmp_path: Path) -> None:
    """Also of a build that gave a control plane where now simulated nodes would be the best."""
    number = 2 if level == "fake" else 0
    old = made(ClusterSpec(), Decisions(level=level, missing=(MISSING,), fake_nodes=number))
    spec = planning.merged(ClusterSpec(), msgspec.structs.replace(old, spec=ClusterSpec(fake_nodes=number or None)))
    again, facts = planning.planned(spec, old, tmp_path)
    assert facts is None, "it was asked already"
    assert (again.decisions.level, again.decisions.missing) == (level, (MISSING,))
    assert again.decisions.fake_nodes == number
    assert again.settings.simulation == old.settings.simulation
    assert again.settings.ports == old.settings.ports
    sentence = planning.level_sentence(again.decisions)
    assert f"mounts): level {level}" in sentence
    assert ("simulated" in sentence) == (level == "fake")


def test_a_node_does_not_turn_into_a_simulated_one() -> None:
    assert planning.merged(ClusterSpec(), made(ClusterSpec(), Decisions(level="node"))).level == "node"


FAKE, NODE = Decisions(level="fake", fake_nodes=1), Decisions(level="node")


@pytest.mark.parametrize(
    ("decisions", "asked", "has"),
    [
        (FAKE, ClusterSpec(level="node"), "has simulated nodes alone"),
        (FAKE, ClusterSpec(level="control-plane"), "has simulated nodes alone"),
        (FAKE, ClusterSpec(additions=("intercept",)), "has simulated nodes alone"),
        (FAKE, ClusterSpec(fake_nodes=2), "has 1 simulated node"),
        (NODE, ClusterSpec(level="fake"), "has a node"),
        (NODE, ClusterSpec(fake_nodes=2), "has no simulated nodes"),
    ],
)
def test_another_one_is_refused(decisions: Decisions, asked: ClusterSpec, has: str) -> None:
    with pytest.raises(KinsError) as caught:
        planning.merged(asked, made(ClusterSpec(), decisions))
    assert (caught.value.code, caught.value.message) == ("cluster-differs", f"cluster 'default' {has}")


def test_the_same_is_no_difference() -> None:
    for asked in (ClusterSpec(), ClusterSpec(level="fake"), ClusterSpec(fake_nodes=1)):
        planning.check_same(asked, made(ClusterSpec(), FAKE))


def test_a_record_of_before_there_were_simulated_nodes() -> None:
    document = json.loads(msgspec.json.encode(made(ClusterSpec(), Decisions(level="node"))))
    for part, field in NEWER.items():
        del document[part][field]
    del document["settings"]["ports"]["kwok"]
    record = msgspec.json.decode(json.dumps(document), type=Record)
    assert (record.decisions.fake_nodes, record.spec.fake_nodes, record.settings.simulation) == (0, None, None)
    assert planning.merged(ClusterSpec(), record) == msgspec.structs.replace(record.spec, level="node")
