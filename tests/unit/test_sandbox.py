"""Facts as data, the levels that follow from them, and the probes of the machine that runs the tests."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import msgspec
import pytest

from kins.cluster.decisions import (
    IDENTITIES_LIMIT,
    ISOLATION_LIMIT,
    MEMORY_LIMIT,
    RESOLVERS_LIMIT,
    SILENT_LIMIT,
    decide,
)
from kins.cluster.spec import ClusterSpec
from kins.components import kubelet
from kins.network.addresses import POD_RANGE, SERVICE_RANGE
from kins.sandbox import Answer, Facts, choose, probe, probes, probing
from kins.sandbox.doctor.explanations import findings
from kins.sandbox.levels import NEEDS, REQUIRED_V1, REQUIRED_V2, control_group_layout, image_store
from kins.sandbox.probes import names, programs
from kins.sandbox.probes.settings import WRITTEN_BY_THE_KUBELET
from kins.sys import mounts, process

WORKS = {"works": True, "cause": ""}
REFUSED = {"works": False, "cause": "[Errno 1] unshare: Operation not permitted (this sandbox does not allow it)"}
INVALID = {"works": False, "cause": "[Errno 22] mount: Invalid argument"}
ABSENT = {"works": False, "cause": "[Errno 2] No such file or directory: '/dev/kmsg'"}
ANSWERS = tuple(field.name for field in msgspec.structs.fields(Facts) if field.type is Answer)
EXT4 = 0xEF53

# An ordinary machine of today.
LINUX: dict[str, Any] = {
    "version": 3,
    "uid": 0,
    "capabilities": (1 << 41) - 1,
    "memory": 8 << 30,
    "cores": 2,
    "data_type": EXT4,
    **dict.fromkeys(ANSWERS, WORKS),
    "control_groups_v1": {},
    "control_groups_v1_mountable": [],
    "control_groups_v2": "/sys/fs/cgroup",
    "control_groups_v2_controllers": ["cpuset", "cpu", "io", "memory", "hugetlb", "pids", "rdma", "misc"],
    "usage_per_cpu": False,
    "sysctls": {
        "kernel/panic": {"value": "0", "writable": True},
        "net/ipv4/ip_forward": {"value": "1", "writable": True},
    },
    "has_hosts_file": True,
    "resolvers": {"192.168.1.1": "answers"},
    "programs": {"mount": True, "umount": True},
    "used_ranges": ["127.0.0.1/8", "192.168.1.7/24", "0.0.0.0/0", "fe80::1/64", "::1/128", "::/0"],
}
# The layout of before.
LINUX_V1: dict[str, Any] = LINUX | {
    "control_groups_v1": {
        "/sys/fs/cgroup/cpu,cpuacct": ["cpu", "cpuacct"],
        "/sys/fs/cgroup/cpuset": ["cpuset"],
        "/sys/fs/cgroup/memory": ["memory"],
        "/sys/fs/cgroup/pids": ["pids"],
        "/sys/fs/cgroup/systemd": ["name=systemd"],
    },
    "control_groups_v2": "/sys/fs/cgroup/unified",
    "control_groups_v2_controllers": [],
    "usage_per_cpu": True,
}
# gVisor with CAP_SYS_ADMIN and its own overlay as the root.
GVISOR: dict[str, Any] = LINUX | {
    "data_type": mounts.GOFER_9P,
    "overlay_on_data": INVALID,
    "kernel_messages": ABSENT,
    "control_groups_v1_mountable": ["cpu", "cpuacct", "cpuset", "devices", "memory", "pids"],
    "control_groups_v2": None,
    "control_groups_v2_controllers": [],
    "sysctls": {
        "kernel/panic": {"value": None, "writable": False},
        "vm/overcommit_memory": {"value": "0", "writable": False},
    },
    "has_hosts_file": False,
    "resolvers": {},
    "used_ranges": ["127.0.0.1/8", "::1/128"],
}
# The same with the network of its host, whose links nobody may change; network namespaces have no IP.
GVISOR_HOST: dict[str, Any] = GVISOR | {
    "pod_network": {"works": False, "cause": "[Errno 97] Address family not supported by protocol"},
    "tun": {"works": False, "cause": "[Errno 2] No such file or directory: '/dev/net/tun'"},
}
# Any user on an ordinary machine.
USER: dict[str, Any] = LINUX | {
    "uid": 1000,
    "capabilities": 0,
    **dict.fromkeys(("namespaces", "mounts", "overlay_on_data", "overlay_on_tmpfs", "pod_network"), REFUSED),
    "loopback_addresses": REFUSED,
    "overlay_on_proc_sys": REFUSED,
    "sysctls": {"kernel/panic": {"value": "0", "writable": False}},
}
# A request that leaves everything to the facts.
ANY = ClusterSpec()
SANDBOXES = {"linux": LINUX, "linux-v1": LINUX_V1, "gvisor": GVISOR, "gvisor-host": GVISOR_HOST, "user": USER}


def facts(document: dict[str, Any], **changes: Any) -> Facts:
    """Facts as they are read back from the disk."""
    return msgspec.json.decode(json.dumps(document | changes), type=Facts)


# Facts


@pytest.mark.parametrize("sandbox", SANDBOXES)
def test_facts_are_the_same_json_after_a_round_trip(sandbox: str) -> None:
    found = facts(SANDBOXES[sandbox])
    # A record of an older version lacks what was not asked then.
    assert json.loads(msgspec.json.encode(found)).items() >= SANDBOXES[sandbox].items()
    assert msgspec.json.decode(msgspec.json.encode(found), type=Facts) == found


@pytest.mark.parametrize(
    "change",
    [{"uid": "0"}, {"mounts": True}, {"programs": ["mount"]}, {"control_groups_v1": []}, {"used_ranges": None}],
    ids=str,
)
def test_facts_of_another_form_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        facts(LINUX, **change)


# Levels


@pytest.mark.parametrize(
    ("sandbox", "level"), [("linux", "node"), ("linux-v1", "node"), ("gvisor", "node"), ("gvisor-host", "node")]
)
def test_what_carries_a_node(sandbox: str, level: str) -> None:
    choice = choose(facts(SANDBOXES[sandbox]), (POD_RANGE, SERVICE_RANGE))
    assert (choice.level, choice.lacks) == (level, ())


def test_a_user_gets_simulated_nodes_and_is_told_why() -> None:
    choice = choose(facts(USER))
    assert choice.level == "fake"
    assert [lack.fact for lack in choice.lacks] == ["namespaces", "mounts", "pod_network"]


NO_CONTROL_GROUPS: dict[str, Any] = {"control_groups_v2": None, "control_groups_v2_controllers": []}
# Neither the tracer nor emulated control groups.
NO_CURE: dict[str, Any] = {"interception": REFUSED, "fuse": REFUSED}
LACKS: dict[str, tuple[dict[str, Any], str]] = {
    **{
        name: ({name: {"works": False, "cause": f"the kernel's word on {name}"}, "loopback_addresses": REFUSED}, name)
        for name in NEEDS
    },
    "no-control-groups": (NO_CONTROL_GROUPS, "control_groups"),
    "control-groups-elsewhere": ({"control_groups_v2": "/elsewhere"}, "control_groups"),
    "control-groups-read-only": (
        {"control_group_creation": {"works": False, "cause": "[Errno 30] Read-only file system"}},
        "control_group_creation",
    ),
    **{
        f"without-{name}": ({"control_groups_v2_controllers": [*(set(REQUIRED_V2) - {name})]}, "control_groups")
        for name in REQUIRED_V2
    },
    "settings": ({"overlay_on_proc_sys": REFUSED}, "sysctls"),
    "one-identity": ({"identities": 1}, "identities"),
    "used-range": ({"used_ranges": ["10.42.7.9/24"]}, "used_ranges"),
    "used-supernet": ({"used_ranges": ["10.0.0.0/8"]}, "used_ranges"),
}


@pytest.mark.parametrize("lack", LACKS)
def test_each_lack_alone_forbids_a_node_and_explains_itself(lack: str) -> None:
    changes, fact = LACKS[lack]
    choice = choose(facts(LINUX | NO_CURE, **changes), ("10.42.0.0/16",))
    assert choice.level == "fake"
    assert [each.fact for each in choice.lacks] == [fact]
    found = choice.lacks[0]
    assert all((found.cause, found.consequence, found.hint))
    if fact in NEEDS:
        assert changes[fact]["cause"] in found.cause, "the kernel's own word"


@pytest.mark.parametrize(
    ("changes", "fact", "control_groups"),
    [
        (NO_CONTROL_GROUPS, "control_groups", "emulated"),
        (LACKS["control-groups-read-only"][0], "control_group_creation", "emulated"),
        ({"overlay_on_proc_sys": REFUSED}, "sysctls", "kernel"),
        ({"identities": 1}, "identities", "kernel"),
    ],
)
def test_what_no_mount_cures_the_tracer_does(changes: dict[str, Any], fact: str, control_groups: str) -> None:
    decided = decide(facts(LINUX, **changes), ANY)
    assert (decided.level, decided.missing) == ("node", ())
    assert decided.interception
    assert decided.control_groups == control_groups
    assert (IDENTITIES_LIMIT in decided.limits) == (fact == "identities")
    without = decide(facts(LINUX, **changes, interception=REFUSED), ANY)
    assert [each.fact for each in without.missing] == [fact]
    # Pods that share a network have a tracer each, and no program can have two.
    sharing = decide(facts(LINUX, **changes, pod_network=REFUSED), ANY)
    assert [each.fact for each in sharing.missing] == [fact]


def test_the_settings_that_are_asked_for_are_those_that_the_kubelet_gets() -> None:
    assert tuple(kubelet.SYSCTLS) == WRITTEN_BY_THE_KUBELET


def test_no_control_groups_are_emulated_without_fuse() -> None:
    decided = decide(facts(LINUX, **NO_CONTROL_GROUPS, fuse=REFUSED), ANY)
    assert [each.fact for each in decided.missing] == ["control_groups"]


def test_every_lack_is_named_at_once() -> None:
    changes: dict[str, Any] = {}
    for change, _ in LACKS.values():
        changes |= change
    changes |= NO_CONTROL_GROUPS
    choice = choose(facts(LINUX | NO_CURE, **changes), ("10.42.0.0/16",))
    # Where there are no control groups, it is no matter whether one could be made.
    assert {each.fact for each in choice.lacks} == {fact for _, fact in LACKS.values()} - {"control_group_creation"}


@pytest.mark.parametrize(
    "used",
    ["0.0.0.0/0", "10.41.255.255/16", "10.43.0.0/16", "fd00::/8", "::/0", "127.0.0.1/8"],
)
def test_ranges_beside_ours_do_no_harm(used: str) -> None:
    assert choose(facts(LINUX, used_ranges=[used]), ("10.42.0.0/16",)).level == "node"


def test_a_used_range_is_named_with_ours() -> None:
    lack = choose(facts(LINUX, used_ranges=["172.17.0.1/16", "10.42.7.9/24"]), ("10.42.0.0/16",)).lacks[0]
    assert "10.42.0.0/16" in lack.cause
    assert "10.42.7.9/24" in lack.cause


# The best of several nodes

# Root without privileges, in whose user namespace a node can live, or pods could share the sandbox's network.
UNPRIVILEGED: dict[str, Any] = USER | {"uid": 0, "capabilities": 0xA80425FB, "user_namespace": WORKS}
INSIDE: dict[str, Any] = GVISOR | {"resolvers": {}}


@pytest.mark.parametrize(
    ("sandbox", "inside", "level", "isolation", "pod_network"),
    [
        # Nothing is better than the sandbox's own bridge.
        (LINUX, INSIDE, "node", "sandbox", "bridge"),
        (UNPRIVILEGED, INSIDE, "node", "user-namespace", "bridge"),
        (GVISOR_HOST, INSIDE, "node", "user-namespace", "bridge"),
        # Without the relay's device it would be cut off; pods that share a network have no relay.
        (GVISOR_HOST, INSIDE | {"tun": REFUSED}, "node", "sandbox", "shared"),
        (GVISOR_HOST, INSIDE | {"pod_network": REFUSED}, "node", "sandbox", "shared"),
        (GVISOR_HOST, None, "node", "sandbox", "shared"),
        (UNPRIVILEGED, INSIDE | {"tun": REFUSED}, "fake", "sandbox", "bridge"),
        (UNPRIVILEGED, INSIDE | NO_CONTROL_GROUPS | NO_CURE | {"control_groups_v1_mountable": []}, "fake", None, None),
        (UNPRIVILEGED, None, "fake", None, None),
    ],
)
def test_a_bridge_goes_before_a_user_namespace_and_that_before_a_shared_network(
    sandbox: dict[str, Any], inside: dict[str, Any] | None, level: str, isolation: str | None, pod_network: str | None
) -> None:
    decided = decide(facts(sandbox, user_namespace=WORKS, inside=inside), ANY)
    assert decided.level == level
    if isolation is not None:
        assert (decided.isolation, decided.pod_network) == (isolation, pod_network)
    assert bool(decided.missing) == (level != "node")
    assert (ISOLATION_LIMIT in decided.limits) == (isolation == "user-namespace")


@pytest.mark.parametrize(
    ("sandbox", "inside", "level", "isolation"),
    [
        (UNPRIVILEGED, GVISOR_HOST, "node", "user-namespace"),
        # Nothing is won by a user namespace.
        (GVISOR_HOST, GVISOR_HOST, "node", "sandbox"),
        (UNPRIVILEGED, GVISOR_HOST | {"interception": REFUSED}, "fake", "sandbox"),
    ],
)
def test_pods_of_a_user_namespace_share_the_sandboxs_network_where_there_is_no_other(
    sandbox: dict[str, Any], inside: dict[str, Any], level: str, isolation: str
) -> None:
    resolvers = {"127.0.0.11": "answers"}
    found = facts(sandbox, resolvers=resolvers, user_namespace=WORKS, inside=inside, network_inside="sandbox")
    decided = decide(found, ANY)
    assert (decided.level, decided.isolation, decided.behind_relay) == (level, isolation, False)
    assert ISOLATION_LIMIT not in decided.limits
    finding = next(each for each in findings(found) if each.fact == "user_namespace")
    assert finding.state == ("missing" if level == "fake" else "works")
    if level == "node":
        assert (decided.pod_network, decided.resolvers) == ("shared", ("127.0.0.11",))


def test_answers_inside_of_a_user_namespace_that_cannot_be_had_count_for_nothing() -> None:
    decided = decide(facts(UNPRIVILEGED, user_namespace=REFUSED, inside=INSIDE), ANY)
    assert decided.level == "fake"


@pytest.mark.parametrize(
    ("resolvers", "reached", "limit"),
    [
        ({"192.0.2.53": "answers"}, ("192.0.2.53",), None),
        # Docker's own, on loopback: inside that is another address. The relay knows no IPv6.
        ({"127.0.0.11": "answers", "2001:db8::53": "answers"}, ("169.254.0.11",), None),
        ({"2001:db8::53": "answers", "127.1.0.1": "answers"}, (), RESOLVERS_LIMIT),
        ({"127.0.0.53": "silent"}, ("169.254.0.53",), SILENT_LIMIT),
    ],
)
def test_resolvers_as_the_relay_reaches_them(
    resolvers: dict[str, str], reached: tuple[str, ...], limit: str | None
) -> None:
    decided = decide(facts(UNPRIVILEGED, resolvers=resolvers, inside=INSIDE), ANY)
    assert decided.resolvers == reached
    assert [each for each in decided.limits if each in (RESOLVERS_LIMIT, SILENT_LIMIT)] == ([limit] if limit else [])


def test_a_user_namespace_that_carries_nothing_is_no_cure() -> None:
    """The doctor says what keeps the node away there too."""
    found = facts(UNPRIVILEGED, inside=INSIDE | {"mounts": REFUSED, "tun": REFUSED})
    finding = next(each for each in findings(found) if each.fact == "user_namespace")
    assert finding.state == "missing"
    assert "mounts, tun" in finding.found


# How the needs of a node are met


@pytest.mark.parametrize(
    ("sandbox", "changes", "layout"),
    [
        ("linux", {}, "v2"),
        ("linux-v1", {}, "v1"),
        ("gvisor", {}, "v1-to-mount"),
        ("gvisor", {"control_groups_v1_mountable": REQUIRED_V1[1:]}, "none"),
        ("linux", {"control_groups_v1": {"/sys/fs/cgroup/systemd": ["name=systemd"]}}, "v2"),
    ],
)
def test_control_groups_that_are_mounted_go_before_those_that_could_be(
    sandbox: str, changes: dict[str, Any], layout: str
) -> None:
    assert control_group_layout(facts(SANDBOXES[sandbox], **changes)) == layout


@pytest.mark.parametrize(
    ("sandbox", "changes", "wish", "kind", "fact", "view"),
    [
        ("linux", {}, "auto", "stock", "control_groups_v2", False),
        ("linux-v1", {}, "auto", "stock", "usage_per_cpu", False),
        ("linux-v1", {"usage_per_cpu": False}, "auto", "no-cadvisor", "usage_per_cpu", False),
        # Our plugin makes file systems known to cAdvisor that it does not know.
        ("linux", {"data_type": mounts.GOFER_9P}, "auto", "stock", "control_groups_v2", False),
        ("gvisor", {}, "auto", "no-cadvisor", "usage_per_cpu", False),
        ("gvisor", {}, "stock", "stock", "usage_per_cpu", True),
        ("gvisor", {}, "no-cgroups", "no-cgroups", "asked for", False),
        ("linux", {}, "no-cadvisor", "no-cadvisor", "asked for", False),
        ("linux", {}, "stock", "stock", "asked for", False),
    ],
)
def test_the_kubelet_is_upstreams_where_cadvisor_has_its_files(
    sandbox: str, changes: dict[str, Any], wish: str, kind: str, fact: str, view: bool
) -> None:
    chosen = decide(facts(SANDBOXES[sandbox], **changes), ClusterSpec(kubelet=wish)).kubelet
    assert chosen is not None
    assert (chosen.kind, chosen.view) == (kind, view)
    assert fact in chosen.because


def test_simulated_nodes_have_no_kubelet() -> None:
    assert decide(facts(USER), ClusterSpec(kubelet="stock")).kubelet is None


@pytest.mark.parametrize(
    ("disk", "memory", "store"),
    [
        (WORKS, WORKS, ("overlayfs", "disk")),
        (WORKS, INVALID, ("overlayfs", "disk")),
        (INVALID, WORKS, ("overlayfs", "tmpfs")),
        (INVALID, INVALID, ("native", "disk")),
    ],
)
def test_images_are_kept_where_overlays_work(
    disk: dict[str, Any], memory: dict[str, Any], store: tuple[str, str]
) -> None:
    assert image_store(facts(LINUX, overlay_on_data=disk, overlay_on_tmpfs=memory)) == store


def test_limits_are_told_where_they_are_ones() -> None:
    gvisor, linux = decide(facts(GVISOR), ANY), decide(facts(LINUX), ANY)
    size = f"in memory (tmpfs), {facts(GVISOR).memory / 2 / 2**30:.1f} GiB at most"
    assert MEMORY_LIMIT in gvisor.limits
    assert any(size in limit for limit in gvisor.limits)
    # The v2 hierarchy has no per-cpu file at all, and enforces limits.
    for each in (linux, decide(facts(LINUX_V1), ANY)):
        assert MEMORY_LIMIT not in each.limits
        assert not any("tmpfs" in limit for limit in each.limits)


@pytest.mark.parametrize(
    ("resolvers", "asked", "limit"),
    [
        ({}, (), RESOLVERS_LIMIT),
        ({"8.8.8.8": "unreachable"}, (), RESOLVERS_LIMIT),
        ({"127.0.0.11": "silent"}, ("127.0.0.11",), SILENT_LIMIT),
        ({"8.8.8.8": "silent", "fd00::53": "answers"}, ("8.8.8.8", "fd00::53"), None),
        # Our own server: whoever wants the cluster's names in the sandbox too writes it there.
        ({"10.43.0.10": "silent"}, (), RESOLVERS_LIMIT),
        ({"10.43.0.10": "answers", "192.168.1.1": "answers"}, ("192.168.1.1",), None),
    ],
)
def test_outside_names_are_asked_of_resolvers_that_may_answer(
    resolvers: dict[str, str], asked: tuple[str, ...], limit: str | None
) -> None:
    decision = decide(facts(LINUX, resolvers=resolvers), ANY)
    assert decision.resolvers == asked
    assert [each for each in decision.limits if each in (RESOLVERS_LIMIT, SILENT_LIMIT)] == ([limit] if limit else [])


def test_pods_are_led_outside_where_there_are_tun_devices() -> None:
    with_tun, without = decide(facts(LINUX), ANY), decide(facts(LINUX, tun=ABSENT), ANY)
    assert (with_tun.egress, without.egress) == (True, False)
    assert not any(limit.startswith("egress:") for limit in with_tun.limits)
    (limit,) = (limit for limit in without.limits if limit.startswith("egress:"))
    assert ABSENT["cause"] in limit


def test_programs_that_are_missing_are_supplied() -> None:
    assert decide(facts(LINUX), ANY).supplied == ()
    decision = decide(facts(LINUX, programs={"mount": False, "umount": True}), ANY)
    assert (decision.level, decision.supplied) == ("node", ("mount",))


def test_pods_share_the_network_where_namespaces_have_none() -> None:
    shared = decide(facts(GVISOR_HOST), ANY)
    assert (shared.level, shared.pod_network, shared.egress) == ("node", "shared", False)
    words = {limit.partition(":")[0] for limit in shared.limits}
    assert {"shared-network", "shared-network-places"} <= words
    assert "egress" not in words
    assert decide(facts(GVISOR), ANY).pod_network == "bridge"
    for needed in ("loopback_addresses", "interception"):
        without = decide(facts(GVISOR_HOST, **{needed: REFUSED}), ANY)
        assert (without.level, [each.fact for each in without.missing]) == ("fake", ["pod_network"])


def test_facts_of_before_know_nothing_of_loopback() -> None:
    old = {name: value for name, value in LINUX.items() if name != "loopback_addresses"}
    assert not facts(old).loopback_addresses.works


def test_a_decision_keeps_what_is_missing() -> None:
    decision = decide(facts(USER, used_ranges=[POD_RANGE]), ANY)
    assert decision.level == "fake"
    assert [each.fact for each in decision.missing] == ["namespaces", "mounts", "pod_network", "used_ranges"]
    assert all(each.cause and each.consequence and each.hint for each in decision.missing)


# The probes, here


def remains(home: Path) -> dict[str, list[str]]:
    """What probes left behind. Whatever else goes on at the machine has other names."""
    links = os.listdir("/sys/class/net") if Path("/sys/class/net").exists() else []
    return {
        "mounts": [
            entry.target for entry in mounts.mount_table() if entry.source == "probe" or str(home) in entry.target
        ],
        "links": [name for name in links if name.startswith("probe-")],
        "files": os.listdir(home),
        "children": children(),
        "descriptors": [each for each in os.listdir("/proc/self/fd") if "pipe:" in _target(each)],
    }


def children() -> list[str]:
    """The children of this process, dead ones that nobody has waited for included."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # gone meanwhile
            if int(stat.read_text().rpartition(")")[2].split()[1]) == os.getpid():
                found.append(stat.parent.name)
    return found


def _target(descriptor: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}")
    except FileNotFoundError:  # the listing's own one
        return ""


@pytest.mark.skipif(os.getuid() != 0, reason="whether mount understands the kubelet is tried by mounting: root")
@pytest.mark.parametrize(
    ("does", "understands"), [('exec /bin/mount "$@"', True), ("echo unrecognized option >&2; exit 1", False)]
)
def test_a_mount_that_does_not_understand_the_kubelet_counts_as_missing(
    does: str, understands: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """busybox has one, as on Alpine; no umount at all is missing in any case."""
    directory = tmp_path / "programs"
    directory.mkdir()
    (directory / "mount").write_text(f"#!/bin/sh\n{does}\n")
    (directory / "mount").chmod(0o755)
    monkeypatch.setattr(programs, "PATH", str(directory))
    assert probe(tmp_path).programs == {"mount": understands, "umount": False}


def test_probes_leave_nothing_behind_and_tell_the_truth(tmp_path: Path) -> None:
    before = remains(tmp_path)
    found = probe(tmp_path, details=True)
    assert remains(tmp_path) == before
    assert found.uid == os.geteuid()
    assert found.capabilities == process.effective_capabilities()
    assert found.cores == len(os.sched_getaffinity(0))
    assert found.memory == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert found.unix_sockets.works
    assert found.has_hosts_file == Path("/etc/hosts").is_file()
    assert found.programs["mount"] == (shutil.which("mount", path="/usr/sbin:/usr/bin:/sbin:/bin") is not None)
    assert found.sysctls["net/ipv4/ip_forward"].value in ("0", "1", None)
    for name in ANSWERS:
        answer = getattr(found, name)
        assert answer.works == (answer.cause == ""), name
        assert "the probe failed" not in answer.cause, f"{name} has a defect"
    assert msgspec.json.decode(msgspec.json.encode(found), type=Facts) == found


def test_nameservers_of_a_file() -> None:
    text = "# nameserver 1.1.1.1\nsearch example.org\nnameserver 9.9.9.9\n nameserver fd00::53 # second\nnameserver\n"
    text += "nameserver fe80::1%eth0\nnameserver 9.9.9.9\nnameserver resolver.example\noptions ndots:2\n"
    assert names.nameservers(text) == ["9.9.9.9", "fd00::53"]


def test_resolvers_are_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One answers whatever it is asked, one says nothing, at one nobody listens, and one cannot be sent to."""
    file = tmp_path / "resolv.conf"
    file.write_text("".join(f"nameserver {each}\n" for each in ("127.0.0.2", "127.0.0.3", "127.0.0.4", "240.0.0.1")))
    monkeypatch.setattr(names, "RESOLVER_FILE", str(file))
    monkeypatch.setattr(names, "RESOLVER_SECONDS", 0.3)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server, socket.socket(type=socket.SOCK_DGRAM) as deaf:
        server.bind(("127.0.0.2", 0))
        port = server.getsockname()[1]
        deaf.bind(("127.0.0.3", port))
        monkeypatch.setattr(names, "DNS_PORT", port)

        def answer() -> None:
            question, asking = server.recvfrom(512)
            server.sendto(question[:2] + b"\x81\x05" + question[4:], asking)

        answering = threading.Thread(target=answer)
        answering.start()
        found = names.resolvers(tmp_path)
        answering.join()
    assert found.pop("240.0.0.1") in ("unreachable", "silent")  # by what the machine's routes say
    assert found == {"127.0.0.2": "answers", "127.0.0.3": "silent", "127.0.0.4": "unreachable"}


def test_no_resolvers_without_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "RESOLVER_FILE", str(tmp_path / "missing"))
    assert names.resolvers(tmp_path) == {}


@pytest.fixture
def anybodys(tmp_path: Path) -> Iterator[Path]:
    """A directory that a process without rights can reach and write to."""
    place = Path(tempfile.mkdtemp(prefix="kins-test-"))
    place.chmod(0o777)
    yield place
    shutil.rmtree(place)


def without_rights(answer: Callable[[], bytes]) -> bytes:
    """What a function gives in a process that is nobody (or, if we are not root, our own user)."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        _answer_and_exit(answer, writing)
    os.close(writing)
    with open(reading, "rb") as pipe:
        content = pipe.read()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    return content


def _answer_and_exit(answer: Callable[[], bytes], writing: int) -> NoReturn:
    try:
        if os.geteuid() == 0:
            os.setgroups([])
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
        os.write(writing, answer())
    except BaseException:  # a forked test must not become a second pytest
        os._exit(1)
    os._exit(0)


def test_a_process_without_rights_is_refused_a_node_by_the_kernel(anybodys: Path) -> None:
    found = msgspec.json.decode(without_rights(lambda: msgspec.json.encode(probe(anybodys))), type=Facts)
    assert found.uid != 0
    assert found.capabilities == 0
    for answer in (found.namespaces, found.mounts, found.pod_network):
        assert not answer.works
        assert "unshare" in answer.cause
    assert not any(each.writable for each in found.sysctls.values())
    choice = choose(found)
    assert choice.level == "fake"
    assert {"namespaces", "mounts", "pod_network"} <= {lack.fact for lack in choice.lacks}
    assert list(anybodys.iterdir()) == []


def hang(_: Path) -> None:
    time.sleep(1000)


def break_down(_: Path) -> None:
    raise RuntimeError("a defect")


def be_killed(_: Path) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def refuse(_: Path) -> None:
    raise PermissionError(1, "Operation not permitted")


@pytest.mark.parametrize(
    ("function", "cause"),
    [
        (hang, "no answer within"),
        (break_down, "the probe failed: RuntimeError('a defect')"),
        (be_killed, "the probe's process was killed"),
        (refuse, "Operation not permitted"),
    ],
)
def test_a_probe_that_fails_is_an_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: Callable[[Path], None], cause: str
) -> None:
    monkeypatch.setitem(probes.ANSWERS, "mounts", function)
    before = remains(tmp_path)
    found = probe(tmp_path)
    assert not found.mounts.works
    assert cause in found.mounts.cause
    assert remains(tmp_path) == before
    assert "mounts" in {lack.fact for lack in choose(found).lacks}


def test_remains_of_killed_probes_are_removed_and_those_of_living_ones_kept(tmp_path: Path) -> None:
    with subprocess.Popen(["/bin/true"]) as dead:
        os.waitid(os.P_PID, dead.pid, os.WEXITED | os.WNOWAIT)
        for name in (dead.pid, os.getpid(), "of-somebody-else"):
            (tmp_path / f"probe-{name}" / "namespaces").mkdir(parents=True)
        (tmp_path / "clusters").mkdir()
        probing.clear_remains(tmp_path)  # before its parent has read that it is dead
        left = sorted(path.name for path in tmp_path.iterdir())
    assert left == ["clusters", f"probe-{os.getpid()}", "probe-of-somebody-else"]
