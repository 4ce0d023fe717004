"""Volumes of every kind that needs no driver, and what the downward API tells a container."""

from __future__ import annotations

import json

from tests.harness.environment import Environment
from tests.scenario.cluster import NODE, Cluster, Object
from tests.scenario.manifests import container, pod, script, settings


def mounts(**places: str) -> Object:
    """The volumes of a container: name and mount point."""
    return {"volumeMounts": [{"name": name, "mountPath": place} for name, place in places.items()]}


def test_empty_dir(cluster: Cluster) -> None:
    """On disk and in memory; shared by the containers, and kept when one of them starts anew."""
    volumes = [
        {"name": "disk", "emptyDir": {}},
        {"name": "memory", "emptyDir": {"medium": "Memory", "sizeLimit": "8Mi"}},
    ]
    places = mounts(disk="/disk", memory="/memory")
    writer = script(
        "echo again >> /disk/file; echo again >> /memory/file; sleep infinity & wait", name="writer", **places
    )
    cluster.apply(pod("shared", container(**places), writer, volumes=volumes))
    cluster.ready("shared")
    cluster.execute("shared", "pkill", "-x", "sleep", container="writer")
    cluster.wait("pod/shared", "jsonpath={.status.containerStatuses[1].restartCount}=1")
    cluster.ready("shared")
    assert cluster.execute("shared", "cat", "/disk/file").split() == ["again", "again"]
    assert cluster.execute("shared", "cat", "/memory/file").split() == ["again", "again"]
    kinds = cluster.execute("shared", "stat", "--file-system", "--format=%T", "/disk", "/memory").split()
    assert kinds[0] != "tmpfs" == kinds[1]
    assert cluster.execute("shared", "df", "--output=size", "/memory").split()[-1] == "8192"


def test_host_path(cluster: Cluster, environment: Environment, directory: str) -> None:
    """A directory and a file of the environment, read and written."""
    environment.write(f"{directory}/file", "from outside\n")
    volumes = [
        {"name": "directory", "hostPath": {"path": directory, "type": "Directory"}},
        {"name": "file", "hostPath": {"path": f"{directory}/file", "type": "File"}},
        {"name": "made", "hostPath": {"path": f"{directory}/made", "type": "DirectoryOrCreate"}},
    ]
    cluster.apply(pod("host", container(**mounts(directory="/here", file="/one", made="/made")), volumes=volumes))
    cluster.ready("host")
    assert cluster.execute("host", "cat", "/here/file", "/one").splitlines() == ["from outside", "from outside"]
    cluster.execute("host", "sh", "-c", "echo from inside | tee /one > /made/file")
    assert environment.output("cat", f"{directory}/file", f"{directory}/made/file").split("\n")[:2] == [
        "from inside",
        "from inside",
    ]


def test_config_map_and_secret(cluster: Cluster) -> None:
    """As files with the modes asked for, as variables, and read-only."""
    cluster.apply(settings("ConfigMap", "config", color="blue", shape="round\nand flat"))
    cluster.apply(settings("Secret", "secret", password="geheim"))
    volumes = [
        {"name": "config", "configMap": {"name": "config"}},
        {"name": "secret", "secret": {"secretName": "secret", "defaultMode": 0o400}},
    ]
    main = container(
        **mounts(config="/config", secret="/secret"),
        envFrom=[{"configMapRef": {"name": "config"}}],
        env=[{"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "secret", "key": "password"}}}],
    )
    main["volumeMounts"].append({"name": "config", "mountPath": "/etc/only", "subPath": "color"})
    cluster.apply(pod("reader", main, volumes=volumes))
    cluster.ready("reader")
    read = "cat /config/shape /secret/password /etc/only; echo; echo $color $PASSWORD; stat -Lc %a /secret/password"
    assert cluster.execute("reader", "sh", "-c", read).splitlines() == [
        "round",
        "and flatgeheimblue",
        "blue geheim",
        "400",
    ]
    kinds = cluster.execute("reader", "stat", "--file-system", "--format=%T", "/secret")
    assert kinds == "tmpfs\n"
    refused = cluster.kubectl("exec", "reader", "--", "touch", "/config/new", check=False)
    assert "Read-only file system" in refused.stderr


def test_projected_tokens(cluster: Cluster) -> None:
    """The pod's own token, and one for somebody else: the API server knows whose they are."""
    sources = [
        {"serviceAccountToken": {"path": "token", "audience": "vault", "expirationSeconds": 600}},
        {"downwardAPI": {"items": [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]}},
    ]
    volumes = [{"name": "identity", "projected": {"sources": sources}}]
    cluster.apply(pod("holder", container(**mounts(identity="/identity")), volumes=volumes))
    cluster.ready("holder")
    own = "/var/run/secrets/kubernetes.io/serviceaccount"
    assert cluster.execute("holder", "cat", f"{own}/namespace") == cluster.namespace
    assert cluster.execute("holder", "cat", f"{own}/ca.crt").startswith("-----BEGIN CERTIFICATE-----")
    assert cluster.execute("holder", "cat", "/identity/name") == "holder"

    for path, audiences in ((f"{own}/token", []), ("/identity/token", ["vault"])):
        status = review(cluster, cluster.execute("holder", "cat", path), audiences)
        assert status["authenticated"] is True, status
        assert status["user"]["username"] == f"system:serviceaccount:{cluster.namespace}:default"
        assert status["user"]["extra"]["authentication.kubernetes.io/pod-name"] == ["holder"]
    # The one for somebody else is not one for the API server.
    assert "authenticated" not in review(cluster, cluster.execute("holder", "cat", "/identity/token"), [])


def review(cluster: Cluster, token: str, audiences: list[str]) -> Object:
    """What the API server says of a token."""
    asked = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenReview",
        "spec": {"token": token, "audiences": audiences},
    }
    path = "/apis/authentication.k8s.io/v1/tokenreviews"
    answer = cluster.kubectl("create", f"--raw={path}", "--filename=-", input=json.dumps(asked))
    status: Object = json.loads(answer.stdout)["status"]
    return status


def test_downward_api(cluster: Cluster) -> None:
    """The pod's own data, as variables and as files."""
    fields = {
        "NAME": "metadata.name",
        "NAMESPACE": "metadata.namespace",
        "UID": "metadata.uid",
        "NODE": "spec.nodeName",
        "ACCOUNT": "spec.serviceAccountName",
        "ADDRESS": "status.podIP",
        "HOST": "status.hostIP",
        "COLOR": "metadata.labels['color']",
    }
    variables: list[Object] = [
        {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}} for name, path in fields.items()
    ]
    limits = {"resource": "limits.cpu", "divisor": "1m"}, {"resource": "requests.memory", "divisor": "1Mi"}
    variables += [
        {"name": name, "valueFrom": {"resourceFieldRef": limit}}
        for name, limit in zip(("CPU", "MEMORY"), limits, strict=True)
    ]
    paths = ("labels", "annotations")
    items = [{"path": path, "fieldRef": {"fieldPath": f"metadata.{path}"}} for path in paths]
    resources = {"limits": {"cpu": "250m", "memory": "64Mi"}, "requests": {"cpu": "10m", "memory": "32Mi"}}
    main = container(env=variables, resources=resources, **mounts(self="/self"))
    metadata = {"labels": {"color": "red"}, "annotations": {"note": "two words"}}
    cluster.apply(pod("aware", main, metadata=metadata, volumes=[{"name": "self", "downwardAPI": {"items": items}}]))
    cluster.ready("aware")

    found = dict(line.split("=", 1) for line in cluster.execute("aware", "env").splitlines() if "=" in line)
    aware = cluster.json("pod/aware")
    expected = {
        "NAME": "aware",
        "NAMESPACE": cluster.namespace,
        "UID": aware["metadata"]["uid"],
        "NODE": NODE,
        "ACCOUNT": "default",
        "ADDRESS": aware["status"]["podIP"],
        "HOST": aware["status"]["hostIP"],
        "COLOR": "red",
        "CPU": "250",
        "MEMORY": "32",
    }
    assert {name: found[name] for name in expected} == expected
    assert cluster.execute("aware", "cat", "/self/labels") == 'color="red"'
    assert 'note="two words"' in cluster.execute("aware", "cat", "/self/annotations").splitlines()
