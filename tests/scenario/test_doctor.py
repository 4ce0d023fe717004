"""What the doctor says is what happens: beside a running cluster, with other facts, and as a user."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from tests.harness.environment import Environment
from tests.harness.native import WITHOUT_USER_NAMESPACES
from tests.harness.rootfs import USER_ID
from tests.scenario.cluster import Cluster
from tests.scenario.manifests import pod

# The rest of root's capabilities stays. With the second one no user namespace gives it back, either.
WITHOUT_PRIVILEGE = ("setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin")
UNPRIVILEGED = ("python3", "-c", WITHOUT_USER_NAMESPACES, *WITHOUT_PRIVILEGE)
DOCTOR = ("kins", "doctor", "--output", "json")


def diagnosis(environment: Environment, command: Sequence[str] = DOCTOR, **options: Any) -> dict[str, Any]:
    """What the doctor says, asked by a command line."""
    said: dict[str, Any] = json.loads(environment.run(command, **options).stdout)["result"]
    return said


def states(said: dict[str, Any]) -> dict[str, str]:
    """Whether each fact works, is cured or missing."""
    return {finding["fact"]: finding["state"] for finding in said["findings"]}


def test_the_level_is_that_of_the_cluster_that_runs(cluster: Cluster) -> None:
    environment = cluster.environment
    said, status = diagnosis(environment), environment.kins_json("status")
    assert (said["level"], said["running"]) == (status["level"], True)
    assert said["missing"] == status["missing"] == []
    assert said["limits"] == status["limits"]
    # gVisor lacks what the node's steps have made up for; an ordinary machine does not.
    cured = {fact for fact, state in states(said).items() if state == "cured"}
    assert cured >= {"root_shared"}
    assert (cured >= {"kernel_messages", "overlay_on_data", "sysctls", "usage_per_cpu"}) == environment.on_gvisor
    assert states(said)["fuse"] == "works"


def test_it_leaves_nothing_behind(cluster: Cluster) -> None:
    environment = cluster.environment
    listing = (
        "cat /proc/self/mountinfo; ls /run /sys/class/net; find / -xdev -name '*probe-[0-9]*'; ls -d /home/*/.* || true"
    )
    before = environment.output("sh", "-c", listing).splitlines()
    environment.kins("doctor")
    diagnosis(environment, variables={"KINS_HOME": "/tmp/never/made"})
    # The pods of the test before may still be on their way out: what they had may go at any time.
    assert set(environment.output("sh", "-c", listing).splitlines()) <= set(before)
    assert environment.run(["test", "-e", "/tmp/never"], check=False).returncode == 1


def test_pods_still_reach_services(cluster: Cluster) -> None:
    """Their packets are forwarded by a setting of the sandbox, which the doctor looks at."""
    diagnosis(cluster.environment)
    cluster.apply(pod("client"))
    cluster.ready("client")
    asked = ("curl", "--silent", "--insecure", "--max-time", "10", "https://10.43.0.1/version")
    assert '"gitVersion"' in cluster.execute("client", *asked)


def test_a_fact_that_is_flipped_shows(cluster: Cluster) -> None:
    """Without privileges there is no node, and the doctor names what would bring it back: what we took away."""
    environment = cluster.environment
    said = diagnosis(environment, (*UNPRIVILEGED, *DOCTOR))
    assert said["level"] != "node"
    assert {"namespaces", "mounts"} <= {missing["fact"] for missing in said["missing"]}
    assert states(said)["capabilities"] == "missing"
    (back,) = (each for each in said["alternatives"] if "CAP_SYS_ADMIN and" in each["change"])
    assert back["level"] == diagnosis(environment)["level"] == "node"


def test_without_privilege_alone_a_user_namespace_is_the_cure(cluster: Cluster) -> None:
    said = diagnosis(cluster.environment, (*WITHOUT_PRIVILEGE, *DOCTOR))
    assert said["level"] == "node"
    assert any(limit.startswith("user-namespace:") for limit in said["limits"])
    assert states(said)["capabilities"] == "cured"
    assert states(said)["entering_namespaces"] == "works"


def test_what_an_alternative_promises_comes_true(cluster: Cluster) -> None:
    """Where overlay does not work on disk, a KINS_HOME on tmpfs is what the hint names."""
    environment = cluster.environment
    here, there = diagnosis(environment), diagnosis(environment, variables={"KINS_HOME": "/tmp/kins-doctor"})
    promised = [each["differences"] for each in here["alternatives"] if each["facts"] == ["overlay_on_data"]]
    assert states(there)["overlay_on_data"] == "works"
    if environment.on_gvisor:
        assert promised == [{"images_on": "disk"}]
        assert not any("in memory" in limit for limit in there["limits"])


def test_any_user_may_ask(cluster: Cluster) -> None:
    """Who has one user id in a user namespace."""
    said = diagnosis(cluster.environment, user=USER_ID)
    assert said["level"] == "node"
    assert any(limit.startswith("identities:") for limit in said["limits"])
    assert states(said)["identities"] == states(said)["unwritable"] == "cured"


def test_text_and_report_say_the_same(cluster: Cluster) -> None:
    environment = cluster.environment
    assert environment.output("kins", "doctor").startswith("Level node, ")
    sent = json.loads(environment.output("kins", "doctor", "--report"))
    assert (sent["level"], sent["missing"]) == ("node", [])
