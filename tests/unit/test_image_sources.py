"""Where images and credentials come from outside of the node: names, docker's configuration, container engines; and
the archives that are kept."""

from __future__ import annotations

import base64
import json
import os
import socketserver
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, ClassVar

import pytest

from kins.cluster import kept_archives
from kins.components import Layout
from kins.components.containerd import registry_directories
from kins.components.environment import network_environment
from kins.errors import KinsError
from kins.images import container_engines
from kins.images.credentials import Credentials, credentials
from kins.images.references import is_name, is_tag, registry

ME = Credentials(username="me", password="se:cret")
ENTRY = {"auth": base64.b64encode(b"me:se:cret").decode()}


# Names


@pytest.mark.parametrize(
    ("name", "host"),
    [
        ("app", "docker.io"),
        ("me/app:1", "docker.io"),
        ("localhost/app", "localhost"),
        ("localhost:5000/app:1", "localhost:5000"),
        ("registry.example.com/a/b@sha256:" + "0" * 64, "registry.example.com"),
    ],
)
def test_names(name: str, host: str) -> None:
    assert is_name(name)
    assert registry(name) == host


@pytest.mark.parametrize("text", ["", "NO NAME", "./app.tar", "/app.tar", "app:", "-o", "app:1:2", "a//b"])
def test_what_is_no_name(text: str) -> None:
    assert not is_name(text)


def test_tags() -> None:
    assert is_tag("v1")
    assert not any(map(is_tag, ("app:v1", "me/app", "app@sha256:00")))


# Credentials


def configure(directory: Path, monkeypatch: pytest.MonkeyPatch, **content: Any) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(directory))
    (directory / "config.json").write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("registry.example.com", "registry.example.com/app:1"),
        ("https://registry.example.com/v1/", "registry.example.com/app"),
        ("registry.example.com/team", "registry.example.com/team/app:1"),
        ("registry.example.com/team/app", "registry.example.com/team/app@sha256:" + "0" * 64),
        ("localhost:5000", "localhost:5000/app:1"),
        ("https://index.docker.io/v1/", "me/app:1"),
        ("docker.io", "app"),
    ],
)
def test_credentials_are_found(key: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(tmp_path, monkeypatch, auths={key: ENTRY, "other.example.com": {"auth": "eDp5"}})
    assert credentials(name) == ME


def test_no_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "absent"))
    assert credentials("app") == Credentials()
    configure(tmp_path, monkeypatch, auths={"registry.example.com/team": ENTRY})
    assert credentials("registry.example.com/teams/app") == Credentials()


@pytest.mark.parametrize("text", ["{", '{"auths": {"localhost:5000": {"auth": "?"}}}', '{"auths": 1}'])
def test_unreadable_credentials(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(tmp_path, monkeypatch)
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(KinsError) as raised:
        credentials("localhost:5000/app")
    assert raised.value.code == "credentials-unreadable"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ('{"Username": "me", "Secret": "se:cret"}', ME),
        ('{"Username": "<token>", "Secret": "t"}', Credentials(identity_token="t")),
    ],
)
def test_credential_helpers(
    answer: str, expected: Credentials, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A helper is a program on the path; it says nothing of a registry that it does not know."""
    helper = tmp_path / "docker-credential-vault"
    helper.write_text(f"#!/bin/sh\nread -r host\n[ \"$host\" = registry.example.com ] || exit 1\necho '{answer}'\n")
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    for content in ({"credsStore": "vault"}, {"credHelpers": {"registry.example.com": "vault"}}):
        configure(tmp_path, monkeypatch, **content)
        assert credentials("registry.example.com/app") == expected
        assert credentials("other.example.com/app") == Credentials()


def test_a_missing_credential_helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(tmp_path, monkeypatch, credsStore="absent")
    with pytest.raises(KinsError) as raised:
        credentials("app")
    assert raised.value.code == "credentials-unreadable"
    assert "docker-credential-absent" in raised.value.message


# Where registries are configured


def test_network_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    assert network_environment(("10.0.0.0/8",)) == {}
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", "ca.pem")
    monkeypatch.setenv("NO_PROXY", "a.example.com")
    monkeypatch.setenv("no_proxy", "ignored.example.com")
    monkeypatch.setenv("https_proxy", "http://proxy.example.com:3128")
    found = network_environment(("10.0.0.0/8",))
    assert found == {
        "SSL_CERT_FILE": str(tmp_path / "ca.pem"),
        "https_proxy": "http://proxy.example.com:3128",
        "no_proxy": "a.example.com,localhost,127.0.0.0/8,::1,10.0.0.0/8",
    }


def test_the_users_registries_come_before_the_systems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    own, *_ = registry_directories()
    assert own == tmp_path / "containerd" / "certs.d"
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    own, *_, system = registry_directories()
    assert own == tmp_path / ".config" / "containerd" / "certs.d"
    assert system == Path("/etc/docker/certs.d")


# Docker and Podman


class Engine(BaseHTTPRequestHandler):
    """What docker and podman answer for one image (a real Docker is asked in tests/scenario)."""

    images: ClassVar[dict[str, bytes]] = {"app%3A1": b"an archive"}

    def do_GET(self) -> None:
        name = self.path.removeprefix("/images/").removesuffix("/json").removeprefix("get?names=")
        content = self.images.get(name, b'{"message": "broken"}')
        status = 200 if name in self.images else 404
        if name == "broken":
            status = 500
        self.send_response(status)
        self.end_headers()
        self.wfile.write(content)

    def address_string(self) -> str:
        return "unix"

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A container engine on a socket that DOCKER_HOST names."""
    path = tmp_path / "engine.sock"
    monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
    with socketserver.ThreadingUnixStreamServer(str(path), Engine) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield path
        server.shutdown()
        thread.join()


def test_an_engine_saves(engine: Path, tmp_path: Path) -> None:
    target = tmp_path / "image.tar"
    assert container_engines.sockets()[0] == engine
    assert container_engines.save("app:1", target)
    assert target.read_bytes() == b"an archive"
    assert not container_engines.save("absent:1", tmp_path / "absent.tar")
    assert not (tmp_path / "absent.tar").exists()


def test_an_engine_that_fails(engine: Path, tmp_path: Path) -> None:
    with pytest.raises(KinsError) as raised:
        container_engines.save("broken", tmp_path / "image.tar")
    assert raised.value.code == "container-engine-failed"
    assert "broken" in raised.value.message


# Kept archives


@pytest.fixture
def files(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path / "cluster")
    layout.make_directories()
    return layout


def keep(files: Layout, archive: Path, *names: str) -> None:
    archive.write_text(archive.name)
    kept_archives.keep(files, archive, names)


def contents(files: Layout) -> list[str]:
    return [Path(each.path).read_text() for each in kept_archives.kept(files)]


def test_archives_are_kept_in_order(files: Layout, tmp_path: Path) -> None:
    for name in ("c", "a", "b"):
        keep(files, tmp_path / f"{name}.tar", name)
    assert contents(files) == ["c.tar", "a.tar", "b.tar"]
    keep(files, tmp_path / "new.tar", "a")
    assert contents(files) == ["c.tar", "b.tar", "new.tar"]
    assert kept_archives.removed(kept_archives.kept(files)) == []


def test_a_directory_is_kept(files: Layout, tmp_path: Path) -> None:
    (tmp_path / "layout").mkdir()
    (tmp_path / "layout" / "index.json").write_text("{}")
    kept_archives.keep(files, tmp_path / "layout", ["app:1"])
    (found,) = kept_archives.kept(files)
    assert Path(found.path).name == "layout"
    assert (Path(found.path) / "index.json").read_text() == "{}"


def test_removed_names_stay_away(files: Layout, tmp_path: Path) -> None:
    keep(files, tmp_path / "both.tar", "a", "b")
    kept_archives.forget(files, ["a", "other"])
    assert kept_archives.removed(kept_archives.kept(files)) == ["a"]
    keep(files, tmp_path / "again.tar", "a")
    assert kept_archives.removed(kept_archives.kept(files)) == []
    kept_archives.forget(files, ["b"])
    assert contents(files) == ["again.tar"]
    assert len(list(files.images.iterdir())) == 1


def test_half_an_archive_is_none(files: Layout, tmp_path: Path) -> None:
    keep(files, tmp_path / "a.tar", "a")
    (found,) = kept_archives.kept(files)
    (Path(found.path).parent.parent / kept_archives.INDEX).unlink()
    assert kept_archives.kept(files) == []
    keep(files, tmp_path / "a.tar", "a")
    assert contents(files) == ["a.tar"]
