"""A sandbox with hardly anything in it: no mount, no /etc/hosts, read-only places, few descriptors."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from tests.harness.environment import Environment
from tests.harness.images import SHELL
from tests.harness.rootfs import USER_ID
from tests.scenario.cluster import PATIENCE, Cluster, Kubectl
from tests.scenario.environments import fresh
from tests.scenario.manifests import container, pod, settings

pytestmark = [pytest.mark.sandbox, pytest.mark.xdist_group("gvisor-overlay")]

HOME = {"KINS_HOME": "/var/tmp/kins"}
IMPOVERISH = """
for place in /root /home /tmp; do
    mount --bind "$place" "$place"
    mount -o remount,bind,ro "$place"
done
rm -f /etc/hosts /etc/resolv.conf
rm $(command -v mount umount)
"""


@pytest.fixture(scope="module")
def poor() -> Iterator[Environment]:
    """The sandbox."""
    with fresh("gvisor-overlay") as environment:
        environment.run(["sh", "-euc", IMPOVERISH])
        yield environment


def error_of(environment: Environment, *command: str, user: int = 0, **variables: str) -> dict[str, str]:
    """The one error that a command ends with, while nothing else is said or left."""
    before = environment.snapshot()
    done = environment.run([*command, "--output", "json"], user=user, variables=variables, check=False)
    assert (done.returncode, done.stderr) == (1, "")
    assert environment.changes_since(before) == ""
    error: dict[str, str] = json.loads(done.stdout)["error"]
    return error


def test_a_home_that_cannot_be_written_is_named(poor: Environment) -> None:
    """With a directory that can be."""
    error = error_of(poor, "kins", "up")
    assert error["code"] == "home-unwritable"
    assert error["hint"] == f"export KINS_HOME={HOME['KINS_HOME']}"


def test_too_few_descriptors_are_named(poor: Environment) -> None:
    """To who cannot have more: any user but root."""
    few = ("prlimit", "--nofile=256:256", "kins", "up")
    error = error_of(poor, *few, user=USER_ID, KINS_HOME="/var/tmp/kins-user")
    assert error["code"] == "few-descriptors"
    assert "256" in error["message"]


def test_a_node_with_volumes(poor: Environment) -> None:
    """Pods' volumes are mounted and unmounted, by programs that the sandbox does not have."""
    before = poor.snapshot()
    few = ["prlimit", "--nofile=256:256", "kins", "up", "--output", "json"]
    up = json.loads(poor.run(few, variables=HOME, timeout=PATIENCE + 10).stdout)["result"]
    assert up["level"] == "node"
    assert up["kubeconfig"] == f"{HOME['KINS_HOME']}/clusters/default/kubeconfig"
    assert "kubeconfig" in [event["phase"] for event in up["events"]]
    poor.run(["kins", "image", "load", f"/images/{SHELL.archive.name}"], variables=HOME, timeout=PATIENCE)
    cluster = Cluster(poor, "default", Kubectl(("kins", "kubectl"), HOME))
    places = [
        {"name": "memory", "mountPath": "/memory"},
        {"name": "memory", "mountPath": "/part", "subPath": "part"},
        {"name": "secret", "mountPath": "/secret", "readOnly": True},
    ]
    volumes = [
        {"name": "memory", "emptyDir": {"medium": "Memory"}},
        {"name": "secret", "secret": {"secretName": "key"}},
    ]
    cluster.apply(settings("Secret", "key", word="open"), pod("main", container(volumeMounts=places), volumes=volumes))
    cluster.ready("main")
    script = "echo kept > /part/file; cat /memory/part/file /secret/word"
    assert cluster.execute("main", "sh", "-c", script) == "kept\nopen"
    # Gone from the API when the kubelet has unmounted everything.
    cluster.delete("pod/main")
    poor.run(["kins", "down"], variables=HOME, timeout=PATIENCE)
    assert poor.changes_since(before) == ""
