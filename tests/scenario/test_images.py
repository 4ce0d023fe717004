"""Images without a registry: loaded from archives of every form, and how pods ask for them."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.harness.environment import Environment
from tests.harness.images import Image, base_tree, image_configuration, layer, write_archive
from tests.scenario.cluster import Cluster, Object
from tests.scenario.manifests import container, pod

# What an OCI layout may carry its image's name in.
REFERENCE = "org.opencontainers.image.ref.name"
MEDIA_TYPE = "application/vnd.oci.image"


@pytest.fixture(scope="module")
def small_layer(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A layer with nothing but bash and its libraries."""
    tree = tmp_path_factory.mktemp("small") / "tree"
    linked = subprocess.run(
        ["chroot", str(base_tree()), "ldd", "/bin/bash"], capture_output=True, text=True, check=True
    ).stdout
    for name in ("/bin/bash", *(word for word in linked.split() if word.startswith("/"))):
        path = tree / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((base_tree() / name.lstrip("/")).read_bytes())
        path.chmod(0o755)
    return layer(tree)


def telling(name: str) -> Image:
    """An image whose containers say its name."""
    return Image(name, ("/bin/bash", "-c", f"echo this is {name}"))


def write_layout(image: Image, content: bytes, reference: str, directory: Path) -> None:
    """An OCI image layout (image-spec, image-layout.md) with a compressed layer."""
    blobs = directory / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def blob(kind: str, data: bytes) -> Object:
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return {"mediaType": f"{MEDIA_TYPE}.{kind}", "digest": f"sha256:{digest}", "size": len(data)}

    def document(kind: str, content: Mapping[str, object]) -> Object:
        return blob(kind, json.dumps({"schemaVersion": 2, **content}).encode())

    configuration = image_configuration(image, [hashlib.sha256(content).hexdigest()])
    manifest = {
        "config": blob("config.v1+json", json.dumps(configuration).encode()),
        "layers": [blob("layer.v1.tar+gzip", gzip.compress(content, compresslevel=1, mtime=0))],
    }
    entry = document("manifest.v1+json", manifest) | {"annotations": {REFERENCE: reference}}
    (directory / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    (directory / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')


def send(environment: Environment, file: Path, path: str) -> None:
    """Copy a file into the environment."""
    environment.run(["sh", "-c", 'base64 --decode > "$0"', path], text=base64.b64encode(file.read_bytes()).decode())


def test_archives(
    cluster: Cluster, environment: Environment, directory: str, small_layer: bytes, tmp_path: Path
) -> None:
    """A compressed docker archive, an OCI layout as a directory, and one as an archive that names a tag only."""
    packed, layout, archived = (telling(f"kins-test/{name}:1") for name in ("packed", "layout", "archived"))
    with gzip.open(tmp_path / "packed.tar.gz", "wb", compresslevel=1) as file:
        write_archive(packed, [small_layer], file)
    for image, reference in ((layout, f"docker.io/{layout.name}"), (archived, "2")):
        place = tmp_path / image.archive.stem
        write_layout(image, small_layer, reference, place)
        with tarfile.open(image_file := place.with_suffix(".tar"), "w") as archive:
            archive.add(place, ".")
        send(environment, image_file, f"{directory}/{image_file.name}")
    send(environment, tmp_path / "packed.tar.gz", f"{directory}/packed.tar.gz")
    environment.run(["mkdir", f"{directory}/layout"])
    environment.run(["tar", "--extract", f"--directory={directory}/layout", f"--file={directory}/layout.tar"])

    files = [f"{directory}/{name}" for name in ("packed.tar.gz", "layout", "archived.tar")]
    loaded = environment.kins_json("image", "load", *files, timeout=120)
    names = ["docker.io/kins-test/packed:1", "docker.io/kins-test/layout:1", "docker.io/library/archived:2"]
    assert [image["name"] for image in loaded] == names
    cluster.apply(
        pod(
            "telling",
            *(
                container(name=f"number-{number}", image=name, imagePullPolicy="Never")
                for number, name in enumerate(names)
            ),
            restartPolicy="Never",
        )
    )
    cluster.phase("Succeeded", "telling")
    said = [cluster.logs("telling", f"--container=number-{number}") for number in range(len(names))]
    assert said == [f"this is {image.name}\n" for image in (packed, layout, archived)]


def test_pull_policies(cluster: Cluster) -> None:
    """What was loaded is used, and what was not is missed as the policy says."""
    present = {policy: container(imagePullPolicy=policy) for policy in ("Never", "IfNotPresent")}
    absent = {
        policy: container(image="kins-test/absent:1", imagePullPolicy=policy) for policy in ("Never", "IfNotPresent")
    }
    cluster.apply(
        *(pod(f"present-{policy.lower()}", each) for policy, each in present.items()),
        *(pod(f"absent-{policy.lower()}", each) for policy, each in absent.items()),
    )
    cluster.ready("present-never", "present-ifnotpresent")
    reason = "jsonpath={.status.containerStatuses[0].state.waiting.reason}"
    cluster.wait("pod/absent-never", f"{reason}=ErrImageNeverPull")
    cluster.wait("pod/absent-ifnotpresent", f"{reason}=ImagePullBackOff")
