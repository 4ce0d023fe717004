"""What BuildKit is told of a build."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kins.cluster.building import BuildRequest, client_options, client_output
from kins.errors import UsageError
from kins.images.references import whole_name


@pytest.fixture
def context(tmp_path: Path) -> Path:
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "whole"),
    [
        ("app", "docker.io/library/app:latest"),
        ("me/app:1", "docker.io/me/app:1"),
        ("docker.io/app:1", "docker.io/library/app:1"),
        ("localhost:5000/app", "localhost:5000/app:latest"),
        ("app@sha256:" + "0" * 64, "docker.io/library/app@sha256:" + "0" * 64),
    ],
)
def test_whole_names(name: str, whole: str) -> None:
    assert whole_name(name) == whole


def test_options(context: Path) -> None:
    (context / "deploy").mkdir()
    (context / "deploy" / "Other").write_text("FROM scratch\n")
    request = BuildRequest(
        context=context,
        file=context / "deploy" / "Other",
        arguments={"A": "1=2"},
        target="stage",
        secrets=("id=s,src=f",),
        no_cache=True,
    )
    request.validate()
    assert client_options(request) == [
        "--frontend=dockerfile.v0",
        f"--local=context={context}",
        f"--local=dockerfile={context / 'deploy'}",
        "--opt=filename=Other",
        "--opt=image-resolve-mode=local",
        "--opt=build-arg:A=1=2",
        "--opt=target=stage",
        "--secret=id=s,src=f",
        "--no-cache",
    ]


def test_outputs(context: Path) -> None:
    named = BuildRequest(context=context, tags=("a:1", "localhost:5000/b"), push=True)
    assert (
        client_output(named, None)
        == 'type=image,unpack=true,"name=docker.io/library/a:1,localhost:5000/b:latest",push=true'
    )
    assert client_output(BuildRequest(context=context), None) == "type=image,unpack=true"
    assert client_output(BuildRequest(context=context), Path("x.tar")) == "type=docker,dest=x.tar"


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"context": Path("/absent")}, "no-build-context"),
        ({"file": Path("/absent")}, "no-build-context"),
        ({"tags": ("NO NAME",)}, "invalid-image-name"),
        ({"push": True}, "invalid-image-name"),
    ],
)
def test_what_is_refused(context: Path, wrong: dict[str, Any], code: str) -> None:
    with pytest.raises(UsageError) as raised:
        BuildRequest(**{"context": context, **wrong}).validate()
    assert raised.value.code == code
