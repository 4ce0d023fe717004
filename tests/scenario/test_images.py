"""Images without a registry: loaded from archives of every form, listed, saved, removed, and how pods ask for them."""

from __future__ import annotations

import gzip
import hashlib
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path

from tests.harness.environment import Environment
from tests.harness.images import SHELL, Image, image_configuration, write_archive
from tests.scenario.cluster import Cluster, Object
from tests.scenario.manifests import container, pod

# What an OCI layout may carry its image's name in.
REFERENCE = "org.opencontainers.image.ref.name"
MEDIA_TYPE = "application/vnd.oci.image"


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
        environment.send(image_file, f"{directory}/{image_file.name}")
    environment.send(tmp_path / "packed.tar.gz", f"{directory}/packed.tar.gz")
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


def named(environment: Environment, name: str) -> Object | None:
    """An image of the list by one of its names."""
    return next((each for each in environment.kins_json("image", "list") if name in each["names"]), None)


def test_save_remove_and_load_again(cluster: Cluster, environment: Environment, directory: str) -> None:
    """What was saved comes back by way of standard input, and is the same image; a name goes, the other one stays."""
    name, saved = f"docker.io/{SHELL.name}", f"{directory}/saved.tar"
    before = named(environment, name)
    assert before is not None
    assert before["digests"] == []
    environment.kins("image", "save", SHELL.name, "--output", saved)
    # A second name, as `docker tag` gives one, in the archive's own list of names.
    retag = (
        "import json, sys, tarfile; source, target = map(tarfile.open, sys.argv[1:], 'rw')\n"
        "for member in source:\n"
        "    content = source.extractfile(member) if member.isfile() else None\n"
        "    if member.name in ('index.json', 'oci-layout'): continue\n"
        "    if member.name == 'manifest.json':\n"
        "        import io; text = content.read().replace(b'shell:1', b'other:2'); member.size = len(text)\n"
        "        content = io.BytesIO(text)\n"
        "    target.addfile(member, content)\n"
        "target.close()"
    )
    environment.run(["python3", "-c", retag, saved, f"{directory}/other.tar"])
    environment.kins("image", "load", f"{directory}/other.tar")
    other = "docker.io/kins-test/other:2"
    removed = environment.kins_json("image", "remove", SHELL.name)
    assert removed == [{"name": name, "id": before["id"], "deleted": False}]
    assert named(environment, name) is None
    assert (named(environment, other) or {})["id"] == before["id"]
    removed = environment.kins_json("image", "remove", "kins-test/other:2")
    assert removed == [{"name": other, "id": before["id"], "deleted": True}]
    assert named(environment, other) is None

    loaded = environment.run(["sh", "-c", f"kins image load - < {saved}"])
    assert loaded.stdout == f"loaded {name}\n"
    assert named(environment, name) == before
    cluster.apply(pod("again", container(imagePullPolicy="Never")))
    cluster.ready("again")
    assert "docker.io/kins-test/shell:1 " in environment.kins("image", "list").stdout


def test_what_cannot_be_done_is_said(cluster: Cluster, environment: Environment, directory: str) -> None:
    """Each with a code of its own, and nothing changed."""
    before = environment.kins_json("image", "list")
    (pause,) = (image for image in before if image["pinned"])
    for arguments, code in (
        (("remove", SHELL.name, "absent:1"), "no-such-image"),
        (("remove", pause["names"][0]), "image-remove-failed"),
        (("pull", "NO NAME"), "invalid-image-name"),
        (("pull", "127.0.0.1:9/nobody/listens:1"), "image-pull-failed"),
        (("load", "absent:1"), "image-not-found"),
    ):
        answer = environment.kins("image", *arguments, "--output", "json", check=False)
        assert json.loads(answer.stdout)["error"]["code"] == code, answer.stdout
        assert answer.returncode in (1, 2)
    answer = environment.kins("image", "save", "absent:1", "--output", f"{directory}/absent.tar", check=False)
    assert "no such image: absent:1" in answer.stderr
    assert environment.output("ls", "-A", directory) == ""
    assert environment.kins_json("image", "list") == before
