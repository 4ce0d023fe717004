"""`kins stop` and `kins start`, and what PostgreSQL has written after these and after a crash."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.harness.environment import Environment
from tests.harness.images import POSTGRES
from tests.harness.snapshot import Snapshot
from tests.scenario.cluster import PATIENCE, Cluster, eventually
from tests.scenario.environments import ENVIRONMENTS, fresh
from tests.scenario.manifests import container, pod, script, workload

pytestmark = pytest.mark.one_root("9p")

HOME = "/root/.local/share/kins/clusters/default"
# What a stopped cluster keeps: its files, and its entry in the kubeconfig.
KEPT = ["files: /root/.local*", "files: /root/.kube*"]


@pytest.fixture(scope="module", params=ENVIRONMENTS)
def environment(request: pytest.FixtureRequest) -> Iterator[Environment]:
    """An environment of this module's own: its cluster is stopped and killed."""
    with fresh(request.param) as started:
        yield started


@pytest.fixture(scope="module")
def before(environment: Environment) -> Iterator[Snapshot]:
    """What the environment looked like before the cluster, and looks like again after `kins down` of a stopped one."""
    seen = environment.snapshot()
    yield seen
    environment.kins("stop", timeout=PATIENCE)
    environment.kins("down", timeout=PATIENCE)
    assert environment.changes_since(seen) == ""


@pytest.fixture(scope="module")
def database(environment: Environment, before: Snapshot) -> Cluster:
    """A cluster with PostgreSQL as a StatefulSet on a claim of the default class, and a row in it."""
    created = environment.kins_json("up", timeout=PATIENCE + 10)
    assert (created["level"], created["outcome"]) == ("node", "created")
    environment.kins("image", "load", f"/images/{POSTGRES.archive.name}", timeout=PATIENCE)
    cluster = Cluster(environment, "default")
    server = container(
        image=POSTGRES.name,
        readinessProbe={
            "exec": {"command": ["psql", "--username=postgres", "--command=select 1"]},
            "periodSeconds": 1,
            "timeoutSeconds": 20,
        },
        volumeMounts=[{"name": "data", "mountPath": "/data"}],
    )
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    stateful = workload("StatefulSet", "db", server, serviceName="db")
    stateful["spec"]["volumeClaimTemplates"] = [{"metadata": {"name": "data"}, "spec": claim}]
    stateful["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = 20
    cluster.apply(stateful)
    cluster.roll_out("statefulset/db")
    query(cluster, "create table written (number int); insert into written values (1)")
    return cluster


PSQL = ("psql", "--username=postgres", "--tuples-only", "--no-align")


def query(cluster: Cluster, text: str) -> str:
    """What psql says."""
    return cluster.execute("db-0", *PSQL, f"--command={text}")


def written(cluster: Cluster) -> list[str]:
    """The rows of the database, whose server may be about to come back: after a start the API server knows the pod as
    it was, until the kubelet has looked at it."""
    cluster.roll_out("statefulset/db")
    ask = ("exec", "db-0", "--", *PSQL, "--command=select 1")
    eventually(lambda: cluster.kubectl(*ask, check=False).returncode == 0)
    return query(cluster, "select number from written order by number").split()


def stop(environment: Environment, *arguments: str) -> Any:
    """`kins stop`, which must succeed."""
    return environment.kins_json("stop", *arguments, timeout=PATIENCE)


def start(environment: Environment) -> dict[str, Any]:
    """`kins start`, which must succeed."""
    result: dict[str, Any] = environment.kins_json("start", timeout=PATIENCE + 10)
    return result


def refused(environment: Environment, *arguments: str) -> str:
    """The code of the error of a command that must fail."""
    answer = environment.kins(*arguments, "--output", "json", check=False)
    assert answer.returncode == 1, answer
    code: str = json.loads(answer.stdout)["error"]["code"]
    return code


def test_data_outlive_the_pod(database: Cluster) -> None:
    """The StatefulSet's next pod has the claim of the one before."""
    database.delete("pod/db-0")
    assert written(database) == ["1"]


def test_data_outlive_stop_and_start(environment: Environment, database: Cluster, before: Snapshot) -> None:
    """While it is stopped nothing runs; after it the same cluster is there: address, objects, image, volume."""
    server = environment.kins_json("status")["api"]["server"]
    database.kubectl("create", "configmap", "kept")
    query(database, "insert into written values (2)")
    assert stop(environment) == [{"name": "default", "outcome": "stopped"}]
    assert environment.changes_since(before, ignoring=KEPT) == ""
    started = start(environment)
    assert (started["outcome"], started["server"]) == ("started", server)
    assert written(database) == ["1", "2"]
    database.kubectl("get", "configmap", "kept")
    said = database.logs("pod/db-0", "--previous=false")
    assert "database system was shut down at" in said, "the server was told to end, and had the time"


def test_data_outlive_a_crash(environment: Environment, database: Cluster) -> None:
    """Everything is killed at once; `kins start` brings it back as `kins up` does."""
    query(database, "insert into written values (3)")
    record = json.loads(environment.output("cat", f"{HOME}/supervisor.json"))
    environment.run(["kill", "-KILL", str(record["pid"])])
    assert start(environment)["outcome"] == "recovered"
    assert written(database) == ["1", "2", "3"]


def test_every_state(environment: Environment, database: Cluster) -> None:
    """Stopping a stopped one and starting a running one are no errors; what asks a stopped one says so."""
    assert start(environment)["outcome"] == "already-running"
    stop(environment)
    assert stop(environment) == [{"name": "default", "outcome": "already-stopped"}]
    assert stop(environment, "--all") == [{"name": "default", "outcome": "already-stopped"}]
    status = environment.kins("status", "--output", "json", check=False)
    assert (status.returncode, json.loads(status.stdout)["result"]["state"]) == (1, "stopped")
    assert [each["state"] for each in environment.kins_json("list")] == ["stopped"]
    assert refused(environment, "image", "load", f"/images/{POSTGRES.archive.name}") == "not-running"
    assert refused(environment, "stop", "absent") == "no-such-cluster"
    assert refused(environment, "start", "absent") == "no-such-cluster"
    assert environment.kins_json("up", timeout=PATIENCE + 10)["outcome"] == "started"
    assert written(database) == ["1", "2", "3"]


def test_an_interrupted_stop(environment: Environment, database: Cluster) -> None:
    """The command is killed at once: the cluster ends all the same, or runs on; either way it can be started."""
    with environment.spawn(["kins", "stop"]) as command:
        environment.run(["kill", "-KILL", str(command.pid)])
    environment.kins("stop", timeout=PATIENCE)
    assert start(environment)["outcome"] == "started"
    assert written(database) == ["1", "2", "3"]


def test_a_start_after_an_interrupted_stop(environment: Environment, database: Cluster) -> None:
    """It waits for what is about to end, and joins it not."""
    stubborn = script("trap '' TERM; echo up; while :; do sleep 1; done", image=POSTGRES.name)
    database.apply(pod("stubborn", stubborn, terminationGracePeriodSeconds=8))
    database.ready("stubborn")
    with environment.spawn(["kins", "stop"]) as command:
        eventually(lambda: environment.run(["pgrep", "-f", "kins-engine [k]ubelet"], check=False).returncode != 0)
        environment.run(["kill", "-KILL", str(command.pid)])
    assert start(environment)["outcome"] == "recovered"
    assert written(database) == ["1", "2", "3"]
