"""What dies comes back by itself or with the next `kins up`, and `kins down` leaves nothing of it."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator
from typing import Any

import pytest
from tests.harness.environment import Environment
from tests.harness.images import SHELL
from tests.harness.snapshot import Snapshot
from tests.scenario.cluster import PATIENCE, Cluster
from tests.scenario.environments import ENVIRONMENTS, fresh
from tests.scenario.manifests import pod

pytestmark = pytest.mark.one_root("9p")

# What does not go with the node's namespaces, and is `kins down`'s to undo.
OUTSIDE_OF_NAMESPACES = [
    f"{part}: *" for part in ("addresses", "control groups", "files", "links", "routes", "sysctls")
]
CONTROL_PLANE = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
COMPONENTS = (
    *CONTROL_PLANE,
    "containerd",
    "kubelet",
    "service-proxy",
    "coredns",
    "egress",
    "provisioner",
    "metrics-server",
)


# Clients and servers of the environment itself.
LISTEN = "import socket; s = socket.create_server(('127.0.0.1', 8080)); print('listening', flush=True); s.accept()"
# Nothing is behind the published port: whether it is reset before `connect` returns is a matter of time. That nobody
# listens would be another error.
CONNECT = """
import contextlib, socket
with contextlib.suppress(ConnectionResetError):
    socket.create_connection(('127.0.0.1', 8080), 10)
"""


@pytest.fixture(scope="module", params=ENVIRONMENTS)
def environment(request: pytest.FixtureRequest) -> Iterator[Environment]:
    """An environment of this module's own: its clusters are killed."""
    with fresh(request.param) as started:
        yield started


@pytest.fixture
def before(environment: Environment) -> Iterator[Snapshot]:
    """What the environment looked like before the test, and looks like again after it and `kins down`."""
    seen = environment.snapshot()
    yield seen
    environment.kins("down", timeout=PATIENCE)
    assert environment.changes_since(seen) == ""


def up(environment: Environment, *arguments: str) -> dict[str, Any]:
    """`kins up`, which must succeed at the level of a node."""
    result: dict[str, Any] = environment.kins_json("up", *arguments, timeout=PATIENCE + 10)
    assert result["level"] == "node", result
    return result


def status(environment: Environment) -> dict[str, Any]:
    """`kins status`, also of a cluster that is not well."""
    answer = environment.kins("status", "--output", "json", check=False)
    found: dict[str, Any] = json.loads(answer.stdout)["result"]
    return found


def component(environment: Environment, name: str) -> dict[str, Any]:
    """What `kins status` says of a component."""
    return next(each for each in status(environment)["components"] if each["name"] == name)


def kill(environment: Environment, pid: int) -> None:
    """SIGKILL, as the kernel sends it when memory runs out."""
    environment.run(["kill", "-KILL", str(pid)])


def supervisor(environment: Environment) -> int:
    """The supervisor's pid, of which users need to know nothing."""
    record = environment.output("cat", "/root/.local/share/kins/clusters/default/supervisor.json")
    return int(json.loads(record)["pid"])


def run_pod(environment: Environment, name: str, *, created: bool = False) -> None:
    """A pod runs, as only a cluster can show whose every component works."""
    cluster = Cluster(environment, "default")
    if not created:
        cluster.apply(pod(name))
    cluster.wait(f"pod/{name}", "condition=Ready")


def test_each_component_comes_back(environment: Environment, before: Snapshot) -> None:
    """Killed one after another; after each, a new pod runs."""
    up(environment)
    environment.kins("image", "load", f"/images/{SHELL.archive.name}", timeout=PATIENCE)
    for name in COMPONENTS:
        kill(environment, component(environment, name)["pid"])
        deadline = time.monotonic() + PATIENCE
        while (found := component(environment, name))["restarts"] == 0 or found["state"] != "ready":
            assert time.monotonic() < deadline, found
        assert found["last_exit"] == "signal SIGKILL"
        run_pod(environment, f"after-{name}")


def test_a_killed_supervisor(environment: Environment, before: Snapshot) -> None:
    """Takes everything with it; `kins up` brings the same cluster back: objects, images, pods, address."""
    first = up(environment, "-p", "8080:30080")
    environment.kins("image", "load", f"/images/{SHELL.archive.name}", timeout=PATIENCE)
    run_pod(environment, "kept")
    kill(environment, supervisor(environment))
    assert environment.changes_since(before, ignoring=OUTSIDE_OF_NAMESPACES) == ""
    assert status(environment)["state"] == "crashed"
    second = up(environment)
    assert (second["outcome"], second["server"]) == ("recovered", first["server"])
    assert status(environment)["published"] == [{"address": "127.0.0.1", "port": 8080, "node_port": 30080}]
    environment.output("python3", "-c", CONNECT)
    run_pod(environment, "kept", created=True)
    run_pod(environment, "new")


def test_a_published_port_that_cannot_be_had(environment: Environment) -> None:
    """Is an error before anything is begun."""
    seen = environment.snapshot()
    with environment.spawn(["python3", "-c", LISTEN]) as listener:
        listener.line_with("listening")
        for place, code in (("8080", "port-taken"), ("192.0.2.1:8080", "address-unavailable")):
            refused = environment.kins("up", "-p", f"{place}:30080", "--output", "json", check=False)
            assert json.loads(refused.stdout)["error"]["code"] == code
    assert environment.changes_since(seen) == ""


def test_down_after_a_killed_supervisor(environment: Environment, before: Snapshot) -> None:
    """Cleans up without its help."""
    up(environment)
    kill(environment, supervisor(environment))


@pytest.mark.parametrize("attempt", range(2))
@pytest.mark.parametrize("then", ["up", "down"])
def test_a_killed_up(environment: Environment, before: Snapshot, attempt: int, then: str) -> None:
    """Killed at a random moment: the next `up` goes on or starts anew, and `down` cleans what there is."""
    moment = random.uniform(0.05, 4.0)
    with environment.spawn(["kins", "up"]) as command:
        time.sleep(moment)  # the moment is what is tested
        kill_if_there(environment, command.pid)
    if then == "up":
        result = up(environment)
        print(f"killed after {moment:.2f} s: {result['outcome']}")
        Cluster(environment, "default").wait("serviceaccount/default", "create")
    else:
        print(f"killed after {moment:.2f} s")


def test_an_interrupted_up(environment: Environment) -> None:
    """Ctrl-C undoes what was begun, by itself."""
    seen = environment.snapshot()
    with environment.spawn(["kins", "up"]) as command:
        command.line_with("prepared")
        environment.run(["kill", "-INT", str(command.pid)])
        code, said = command.finish(PATIENCE)
    assert code == 130, said
    assert environment.changes_since(seen) == ""


@pytest.mark.parametrize("size", ["64k", "1m", "16m"])
def test_a_full_disk(environment: Environment, size: str) -> None:
    """Whatever does not fit any more: one clear error, and nothing is left."""
    environment.run(["mkdir", "/mnt/small"])
    environment.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "small", "/mnt/small"])
    seen = environment.snapshot()
    up = environment.run(
        ["kins", "up", "--timeout", "30s", "--output", "json"],
        variables={"KINS_HOME": "/mnt/small/kins"},
        timeout=PATIENCE,
        check=False,
    )
    assert up.returncode == 1, up
    error = json.loads(up.stdout)["error"]
    assert error["code"] in ("system-error", "disk-full"), error
    assert "Traceback" not in up.stderr
    assert environment.changes_since(seen) == ""
    environment.run(["umount", "/mnt/small"])
    environment.run(["rmdir", "/mnt/small"])


def kill_if_there(environment: Environment, pid: int) -> None:
    """It may have come to its end before."""
    environment.run(["kill", "-KILL", str(pid)], check=False)
