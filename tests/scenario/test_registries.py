"""Images from registries: behind a proxy and a private authority, by mirrors, with credentials, from the cluster's own;
and what is said and left when a pull goes wrong.

The outside world is tests/harness/outside.py; nothing here leaves the environment.
"""

from __future__ import annotations

import base64
import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.harness import outside
from tests.harness.environment import Environment
from tests.harness.images import Image, write_archive
from tests.scenario.cluster import PATIENCE, Cluster, Kubectl, Object, eventually
from tests.scenario.environments import fresh
from tests.scenario.manifests import container, pod

from kins.pki import Authority

pytestmark = pytest.mark.one_root("9p")

PROGRAM = Path(outside.__file__).read_text()
PLACE = "/srv/outside"
PRIVATE, USER, PASSWORD = "registry.test", "me", "secret"
PROXY_PORT, DOOR_PORT = 3128, 8443
ROOT_HOME = "/root"
# containerd's content store, as it is seen in the node's own mount namespace.
CONTENT = f"{ROOT_HOME}/.local/share/kins/clusters/default/containerd/io.containerd.content.v1.content"
# The last layer: more than a store with `ROOM` takes, and than a connection brings before it breaks.
LARGE, ROOM, BUDGET = 12 << 20, 4 << 20, 2 << 20
IMAGE = Image("app:1", ("/bin/bash", "-c", "read -t 1000 <> <(:)"))

KINDS = [
    pytest.param(name, marks=[mark, pytest.mark.xdist_group(f"registries-{name}")])
    for name, mark in (
        ("native", pytest.mark.native),
        ("gvisor-overlay", pytest.mark.sandbox),
        ("gvisor-9p", pytest.mark.sandbox),
    )
]


@pytest.fixture(scope="module", params=KINDS)
def environment(request: pytest.FixtureRequest) -> Iterator[Environment]:
    """An environment of this module's own, whose user has configured registries."""
    with fresh(request.param) as started:
        yield started


@pytest.fixture(scope="module")
def world(environment: Environment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The outside world, running; the variables by which a user says how to reach it."""
    pki = tmp_path_factory.mktemp("pki")
    Authority.open(pki, "ca").issue("server", PRIVATE, dns_names=(PRIVATE,))
    environment.run(["mkdir", PLACE])
    for file in ("ca.crt", "server.crt", "server.key"):
        environment.send(pki / file, f"{PLACE}/{file}")
    environment.write(f"{PLACE}/program.py", PROGRAM)
    described = outside.World(
        PLACE, f"{PLACE}/server.crt", f"{PLACE}/server.key", USER, PASSWORD, PROXY_PORT, DOOR_PORT
    )
    configure(environment)
    command = ["python3", f"{PLACE}/program.py", "serve", json.dumps(described._asdict())]
    with environment.spawn(command) as serving:
        serving.line_with("ready")
        yield {"HTTPS_PROXY": f"http://127.0.0.1:{PROXY_PORT}", "SSL_CERT_FILE": f"{PLACE}/ca.crt"}


def configure(environment: Environment) -> None:
    """Write what a user writes: docker's credentials for one part of a registry, and a mirror."""
    own = {"auths": {f"{PRIVATE}/of-the-user": {"auth": base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()}}}
    mirror = '[host."http://localhost:5000"]\n  capabilities = ["pull", "resolve"]\n'
    directory = f"{ROOT_HOME}/.config/containerd/certs.d/mirrored.test"
    environment.run(["mkdir", "--parents", f"{ROOT_HOME}/.docker", directory])
    environment.write(f"{ROOT_HOME}/.docker/config.json", json.dumps(own))
    environment.write(f"{directory}/hosts.toml", mirror)


@pytest.fixture(scope="module")
def kubectl(
    environment: Environment, world: dict[str, str], small_layer: bytes, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Kubectl]:
    """A cluster with a registry, in which the image is under several names; after its end all is as it was before."""
    environment.write(f"{PLACE}/proxy.log", "")
    before = environment.snapshot()
    up = environment.run(["kins", "up", "--registry", "--output", "json"], variables=world, timeout=PATIENCE + 10)
    assert json.loads(up.stdout)["result"]["registry"] == "localhost:5000"
    directory = tmp_path_factory.mktemp("image")
    push(environment, directory, small_layer, "of-the-user", "of-a-secret", "local")
    # With a layer of its own for each: what the node has already, and forgets late, it does not ask for.
    for part in ("changed", "cut-off", "large"):
        push(environment, directory, small_layer, part)
    yield Kubectl.of(environment)
    environment.kins("down", timeout=PATIENCE)
    environment.write(f"{PLACE}/proxy.log", "")
    assert environment.changes_since(before) == ""


def push(environment: Environment, directory: Path, small: bytes, *parts: str) -> None:
    """Push one new image into parts of the cluster's registry."""
    archive = directory / "app.tar"
    with archive.open("wb") as file:
        write_archive(IMAGE, [small, large_layer(directory)], file)
    environment.send(archive, f"{PLACE}/app.tar")
    for part in parts:
        environment.run(["python3", f"{PLACE}/program.py", "push", f"{part}/{IMAGE.name}", f"{PLACE}/app.tar"])
    environment.run(["rm", f"{PLACE}/app.tar"])


def large_layer(directory: Path) -> bytes:
    """A layer that no compression makes small."""
    (directory / "large").write_bytes(os.urandom(LARGE))
    with tarfile.open(directory / "large.tar", "w") as archive:
        archive.add(directory / "large", "large")
    return (directory / "large.tar").read_bytes()


def secret(cluster: Cluster, name: str, password: str) -> list[Object]:
    """What a pod names in imagePullSecrets, made as users make it."""
    login = [f"--docker-server={PRIVATE}", f"--docker-username={USER}", f"--docker-password={password}"]
    cluster.kubectl("create", "secret", "docker-registry", name, *login)
    return [{"name": name}]


def failure(cluster: Cluster, name: str, *wanted: str) -> None:
    """Wait until an event of a pod says each of these."""

    def said() -> bool:
        events = cluster.json("events", f"--field-selector=involvedObject.name={name},reason=Failed")["items"]
        return any(all(word in event["message"] for word in wanted) for event in events)

    eventually(said)


def half_written(environment: Environment) -> str:
    """What lies in the place where containerd's downloads begin."""
    return inside_node(environment, f"ls {CONTENT}/ingest").strip()


def inside_node(environment: Environment, script: str) -> str:
    """Run a shell script in the node's mount namespace."""
    (pid,) = (each["pid"] for each in environment.kins_json("status")["components"] if each["name"] == "containerd")
    return environment.output("nsenter", f"--mount=/proc/{pid}/ns/mnt", "sh", "-euc", script)


def private(name: str, part: str, secrets: list[Object] | None = None) -> Object:
    """A pod of the private registry's image."""
    image = container(image=f"{PRIVATE}/{part}/{IMAGE.name}", imagePullPolicy="Always")
    return pod(name, image, **({"imagePullSecrets": secrets} if secrets else {}))


def test_secrets_behind_a_proxy(cluster: Cluster, environment: Environment) -> None:
    """A pod with the right secret runs; without one and with a wrong one its event says that it was refused."""
    cluster.apply(
        private("right", "of-a-secret", secret(cluster, "right", PASSWORD)),
        private("wrong", "of-a-secret", secret(cluster, "wrong", "guessed")),
        private("none", "of-a-secret"),
    )
    cluster.ready("right")
    failure(cluster, "wrong", "401 Unauthorized", f"{PRIVATE}/of-a-secret/{IMAGE.name}")
    failure(cluster, "none", "authorization failed: no basic auth credentials")
    # The registry's name stands in no resolver: the proxy was asked, and for nothing else.
    asked = set(environment.output("cat", f"{PLACE}/proxy.log").splitlines())
    assert asked == {f"CONNECT {PRIVATE}:443 HTTP/1.1"}


def test_credentials_of_the_user(cluster: Cluster, environment: Environment) -> None:
    """Those of docker's configuration serve pods and `kins image pull` alike."""
    cluster.apply(private("own", "of-the-user"))
    cluster.ready("own")
    name = f"{PRIVATE}/of-the-user/{IMAGE.name}"
    (pulled,) = environment.kins_json("image", "pull", name)
    assert pulled["name"] == name
    refused = environment.kins("image", "pull", f"{PRIVATE}/of-a-secret/{IMAGE.name}", check=False)
    assert "authorization failed: no basic auth credentials" in refused.stderr


def test_mirror_and_the_clusters_own_registry(cluster: Cluster) -> None:
    """By the name that was pushed to, and by a name that a hosts.toml of the user leads there."""
    own = container(image=f"localhost:5000/local/{IMAGE.name}")
    mirrored = container(image=f"mirrored.test/local/{IMAGE.name}")
    cluster.apply(pod("own", own), pod("mirrored", mirrored))
    cluster.ready("own", "mirrored")
    found = cluster.json("configmap", "local-registry-hosting", "--namespace=kube-public")
    assert found["data"] == {"localRegistryHosting.v1": 'host: "localhost:5000"\n'}


def test_the_registry_keeps_its_images(cluster: Cluster, environment: Environment) -> None:
    """Also when it dies."""
    (before,) = (each for each in environment.kins_json("status")["components"] if each["name"] == "registry")
    environment.run(["kill", "-KILL", str(before["pid"])])
    curl = ("curl", "--silent", "--fail", f"http://localhost:5000/v2/local/{IMAGE.name.replace(':', '/manifests/')}")
    eventually(lambda: environment.run([*curl, "--header", f"Accept: {outside.MANIFEST}"], check=False).returncode == 0)


def test_wrong_digest(cluster: Cluster, environment: Environment) -> None:
    """A layer with another content than its name says is refused and thrown away; the right one is taken later."""
    environment.write(f"{PLACE}/corrupt", "")
    cluster.apply(private("changed", "changed", secret(cluster, "right", PASSWORD)))
    failure(cluster, "changed", "digest")
    eventually(lambda: half_written(environment) == "")
    environment.run(["rm", f"{PLACE}/corrupt"])
    cluster.ready("changed")


def test_broken_connection(cluster: Cluster, environment: Environment) -> None:
    """In the middle of a layer."""
    environment.write(f"{PLACE}/budget", str(BUDGET))
    cluster.apply(private("cut-off", "cut-off", secret(cluster, "right", PASSWORD)))
    failure(cluster, "cut-off", "EOF")
    eventually(lambda: half_written(environment) == "")
    environment.run(["rm", f"{PLACE}/budget"])
    cluster.ready("cut-off")


def test_full_disk(cluster: Cluster, environment: Environment, directory: str) -> None:
    """In the content store there is less room than a layer needs; of what was begun nothing stays."""
    blobs = f"{CONTENT}/blobs/sha256"
    # The small ones stay in sight: every pod needs the configuration of the pause image.
    inside_node(environment, f"find {blobs} -type f -size -64k -exec cp '{{}}' {directory} ';'")
    inside_node(environment, f"mount -t tmpfs -o size={ROOM} tmpfs {CONTENT} && mkdir -p {blobs} {CONTENT}/ingest")
    inside_node(environment, f"cp {directory}/* {blobs}")
    before = stored(environment)
    cluster.apply(private("large", "large", secret(cluster, "right", PASSWORD)))
    failure(cluster, "large", "no space left on device")
    eventually(lambda: stored(environment) <= before)
    inside_node(environment, f"umount {CONTENT}")
    cluster.ready("large")


def stored(environment: Environment) -> set[str]:
    """All files of the content store."""
    return set(inside_node(environment, f"find {CONTENT} -type f").split())
