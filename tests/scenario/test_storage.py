"""Claims of the default storage class, and of classes that users make with its provisioner."""

from __future__ import annotations

import json

import pytest
from tests.harness.environment import Environment
from tests.scenario.cluster import Cluster, Object, eventually
from tests.scenario.manifests import container, pod, script

CLASS = "standard"
VOLUMES = "/root/.local/share/kins/clusters/default/volumes"


def claim(name: str, storage_class: str | None = None, mode: str = "ReadWriteOnce", **specification: object) -> Object:
    """A PersistentVolumeClaim; of the default class when none is named."""
    named = {"storageClassName": storage_class} if storage_class else {}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name},
        "spec": {
            "accessModes": [mode],
            "resources": {"requests": {"storage": "1Gi"}},
            **named,
            **specification,
        },
    }


def storage_class(name: str, **fields: object) -> Object:
    """A class of our provisioner, as a user makes one."""
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": name},
        "provisioner": "kins/directory",
        **fields,
    }


def claimed(name: str) -> Object:
    """The volume of a pod that a claim stands for."""
    return {"name": name, "persistentVolumeClaim": {"claimName": name}}


def mounted(volume: str, place: str = "/data", **fields: object) -> Object:
    """A container's fields that mount one volume."""
    return {"volumeMounts": [{"name": volume, "mountPath": place, **fields}]}


def volume_of(cluster: Cluster, name: str) -> str:
    """The name of the volume that a claim is bound to."""
    bound: str = cluster.json(f"pvc/{name}")["spec"]["volumeName"]
    return bound


def test_a_claim_waits_for_its_pod_and_outlives_it(cluster: Cluster, environment: Environment) -> None:
    """Written by one pod and read by the next; the data go with the claim."""
    annotations = cluster.json(f"storageclass/{CLASS}")["metadata"]["annotations"]
    assert annotations["storageclass.kubernetes.io/is-default-class"] == "true"
    cluster.apply(claim("kept"))
    cluster.kubectl("wait", "pvc/kept", "--for=jsonpath={.status.phase}=Pending")
    assert cluster.json("pvc/kept")["spec"]["storageClassName"] == CLASS
    writer = script("echo written > /data/file", **mounted("kept"))
    cluster.apply(pod("writer", writer, restartPolicy="Never", volumes=[claimed("kept")]))
    cluster.phase("Succeeded", "writer")
    cluster.delete("pod/writer")
    cluster.apply(pod("reader", container(**mounted("kept")), volumes=[claimed("kept")]))
    cluster.ready("reader")
    assert cluster.execute("reader", "cat", "/data/file") == "written\n"

    volume = volume_of(cluster, "kept")
    assert environment.output("cat", f"{VOLUMES}/{volume}/file") == "written\n"
    cluster.kubectl("delete", "pvc/kept", "--wait=false")
    assert cluster.execute("reader", "cat", "/data/file") == "written\n", "a claim in use is protected"
    cluster.delete("pod/reader")
    cluster.wait(f"pv/{volume}", "delete")
    assert volume not in environment.output("ls", VOLUMES).split()


def test_retained_data(cluster: Cluster, environment: Environment) -> None:
    """With `reclaimPolicy: Retain` the data stay, also when the volume's object is deleted after its claim."""
    name = f"retained-{cluster.namespace}"
    cluster.apply(storage_class(name, reclaimPolicy="Retain"), claim("retained", name))
    cluster.wait("pvc/retained", "jsonpath={.status.phase}=Bound")  # a class that says nothing binds at once
    volume = volume_of(cluster, "retained")
    environment.write(f"{VOLUMES}/{volume}/file", "retained\n")
    cluster.delete("pvc/retained")
    cluster.wait(f"pv/{volume}", "jsonpath={.status.phase}=Released")
    cluster.delete(f"pv/{volume}", f"storageclass/{name}")
    assert environment.output("cat", f"{VOLUMES}/{volume}/file") == "retained\n"
    environment.run(["rm", "-r", f"{VOLUMES}/{volume}"])


def test_ordinary_users_and_groups(cluster: Cluster) -> None:
    """Without a group anybody may write; `fsGroup` makes the files that group's; `subPath` is a part of the volume."""
    cluster.apply(claim("free"), claim("grouped"))
    free = pod("free", container(**mounted("free")), securityContext={"runAsUser": 1234}, volumes=[claimed("free")])
    grouped = pod(
        "grouped",
        container(**mounted("grouped", subPath="some/where")),
        securityContext={"runAsUser": 1234, "runAsGroup": 1234, "fsGroup": 4321},
        volumes=[claimed("grouped")],
    )
    cluster.apply(free, grouped)
    cluster.ready("free", "grouped")
    for name, group in (("free", 0), ("grouped", 4321)):
        cluster.execute(name, "sh", "-c", "echo mine > /data/file")
        assert cluster.execute(name, "stat", "--format=%u %g", "/data/file").split() == ["1234", str(group)]


def test_shared_by_two_pods(cluster: Cluster) -> None:
    """ReadWriteMany, which one node can give: both see what either writes."""
    cluster.apply(claim("shared", mode="ReadWriteMany"))
    names = ("one", "two")
    cluster.apply(*(pod(name, container(**mounted("shared")), volumes=[claimed("shared")]) for name in names))
    cluster.ready(*names)
    cluster.execute("one", "sh", "-c", "echo from one > /data/file")
    assert cluster.execute("two", "cat", "/data/file") == "from one\n"


@pytest.mark.parametrize(
    ("specification", "fields", "reason"),
    [
        ({"selector": {"matchLabels": {"a": "b"}}}, {}, "selector"),
        ({"volumeMode": "Block"}, {}, "block volume"),
        ({}, {"parameters": {"path": "/etc"}}, "parameters"),
    ],
    ids=["selector", "block", "parameters"],
)
def test_what_a_directory_cannot_be(cluster: Cluster, specification: Object, fields: Object, reason: str) -> None:
    """The claim's events say why it stays without a volume."""
    name = f"odd-{cluster.namespace}"
    cluster.apply(storage_class(name, **fields), claim("odd", name, **specification))

    def told() -> bool:
        events = cluster.json("events", "--field-selector=involvedObject.name=odd,reason=ProvisioningFailed")["items"]
        return any(reason in event["message"] for event in events)

    eventually(told)
    assert cluster.json("pvc/odd")["status"]["phase"] == "Pending"
    cluster.delete(f"storageclass/{name}")


def test_a_volume_object_cannot_name_another_directory(cluster: Cluster, environment: Environment) -> None:
    """One that claims to be the provisioner's, with a path elsewhere, is left alone, and so is the path."""
    environment.run(["mkdir", "-p", "/tmp/foreign"])
    environment.write("/tmp/foreign/file", "not yours\n")
    name = f"foreign-{cluster.namespace}"
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name, "annotations": {"pv.kubernetes.io/provisioned-by": "kins/directory"}},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "capacity": {"storage": "1Gi"},
            "persistentVolumeReclaimPolicy": "Delete",
            "storageClassName": name,
            "hostPath": {"path": "/tmp/foreign"},
        },
    }
    cluster.apply(volume, claim("foreign", name, volumeName=name))
    cluster.wait("pvc/foreign", "jsonpath={.status.phase}=Bound")
    cluster.delete("pvc/foreign")
    cluster.wait(f"pv/{name}", "jsonpath={.status.phase}=Released")
    # What is provisioned and removed after it shows that the provisioner has had its turn.
    later = storage_class(f"later-{name}")
    cluster.apply(later, claim("later", later["metadata"]["name"]))
    cluster.wait("pvc/later", "jsonpath={.status.phase}=Bound")
    after = volume_of(cluster, "later")
    cluster.delete("pvc/later")
    cluster.wait(f"pv/{after}", "delete")
    assert environment.output("cat", "/tmp/foreign/file") == "not yours\n"
    cluster.kubectl("patch", f"pv/{name}", "--type=merge", '--patch={"metadata":{"finalizers":null}}')
    cluster.delete(f"pv/{name}", f"storageclass/{later['metadata']['name']}")
    environment.run(["rm", "-r", "/tmp/foreign"])


def test_the_provisioner_has_no_other_rights(cluster: Cluster) -> None:
    """Whoever takes it over has volumes, and neither secrets nor pods."""

    def may(*words: str) -> bool:
        answer = cluster.kubectl("auth", "can-i", *words, "--as=kins:provisioner", "--all-namespaces", check=False)
        return answer.stdout.strip() == "yes"

    assert may("delete", "persistentvolumes")
    assert may("list", "persistentvolumeclaims")
    for words in (
        ("get", "secrets"),
        ("create", "pods"),
        ("list", "nodes"),
        ("update", "nodes"),
        ("delete", "persistentvolumeclaims"),
    ):
        assert not may(*words), words
    assert json.loads(cluster.kubectl("get", "clusterrole/kins:provisioner", "--output=json").stdout)["rules"]
