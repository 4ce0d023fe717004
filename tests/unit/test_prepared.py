"""What lies in a cluster's directory: made by the supervisor, and the same by the shell text that a plan shows."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec
from tests.trees import tree

import kins
from kins.cluster.identities import SIGNING_KEY
from kins.cluster.prepared import EmptyDirectory, Kubeconfig, Nothing, Prepared, SymbolicLink, TextFile
from kins.pki import Identity, create_signing_key, issue

SOURCES = Path(kins.__file__).resolve().parents[1]


def prepared(place: Path) -> list[Prepared]:
    """One of each kind."""
    pem = {name: str(place / f"{name}.pem") for name in ("authority", "certificate", "key")}
    return [
        TextFile(path=str(place / "text"), content="a $HOME `b` \\ 'c'\nEND\n", because="test"),
        TextFile(path=str(place / "program"), content="#!/bin/sh\n", executable=True, because="test"),
        Kubeconfig(path=str(place / "kubeconfig"), name="kins-a", server="https://127.0.0.1:1", because="test", **pem),
        SymbolicLink(path=str(place / "link"), target="/nowhere at all", because="test"),
        EmptyDirectory(path=str(place / "used"), because="test"),
        Nothing(path=str(place / "left"), because="test"),
    ]


def furnished(place: Path) -> Path:
    """A directory as an earlier life may have left it."""
    (place / "used").mkdir(parents=True)
    (place / "used" / "file").write_text("old")
    (place / "left").mkdir()
    (place / "left" / "file").write_text("old")
    for name in ("authority", "certificate", "key"):
        (place / f"{name}.pem").write_text(f"{name} " * 40)
    return place


def test_files_are_as_their_script_makes_them(tmp_path: Path) -> None:
    made, typed = furnished(tmp_path / "made"), furnished(tmp_path / "typed")
    for each in prepared(made):
        each.make()
    for each in prepared(typed):
        subprocess.run(["sh", "-eu", "-c", each.script()], check=True)
    assert tree(made) == tree(typed)
    assert "left" not in tree(made)


def test_certificates_from_the_command_line(tmp_path: Path) -> None:
    identities = (Identity(name="a", common_name="A"), Identity(name="b", common_name="B", authority="other"))
    called, ran = tmp_path / "called", tmp_path / "ran"
    for place in (called, ran):
        place.mkdir()
    create_signing_key(called, SIGNING_KEY)
    issue(called, identities)
    command = [sys.executable, "-P", "-m", "kins.pki", str(ran), SIGNING_KEY]
    environment = {**os.environ, "PYTHONPATH": str(SOURCES)}
    subprocess.run(command, input=msgspec.json.encode(identities), env=environment, check=True)
    assert tree(ran).keys() == tree(called).keys()
    assert {path.stat().st_mode & 0o777 for path in ran.glob("*.key")} == {0o600}
