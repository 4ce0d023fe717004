"""The best level that a sandbox can carry, with an honest word on what is missing."""

from __future__ import annotations

import pytest
from tests.harness.gvisor import Sandbox
from tests.harness.rootfs import USER_ID
from tests.harness.wheel import kins_tree
from tests.scenario.cluster import PATIENCE


@pytest.mark.sandbox
@pytest.mark.xdist_group("gvisor-overlay")
def test_a_user_without_capabilities() -> None:
    """Not root, where pods could only share the sandbox's network: simulated nodes, and every fact that keeps a real
    one away. Pods that share it have a tracer each, and no process has a second one, which one user id would ask for.
    """
    with Sandbox(kins_tree(), root="overlay", capabilities="docker", network="host") as environment:
        before = environment.snapshot()
        foretold = environment.kins_json("doctor", user=USER_ID)
        up = environment.kins_json("up", user=USER_ID, timeout=PATIENCE + 10)
        assert up["level"] == "fake"
        assert (foretold["level"], foretold["missing"]) == (up["level"], up["missing"])
        missing = {each["fact"]: each for each in up["missing"]}
        assert {"namespaces", "mounts", "pod_network"} <= missing.keys()
        assert "CAP_SYS_ADMIN" in missing["namespaces"]["hint"]
        assert environment.kins_json("status", user=USER_ID)["missing"] == up["missing"]
        refused = environment.run(["kins", "up", "other", "--level", "node"], user=USER_ID, check=False)
        assert refused.returncode == 1
        assert all(each["cause"] in refused.stderr and each["hint"] in refused.stderr for each in up["missing"])
        assert "other" not in environment.kins("list", user=USER_ID).stdout
        said = environment.kins("up", user=USER_ID).stderr
        assert all(each["cause"] in said for each in up["missing"])
        environment.kins("kubectl", "create", "configmap", "works", user=USER_ID)
        environment.kins("down", user=USER_ID, timeout=PATIENCE)
        assert environment.changes_since(before) == ""
