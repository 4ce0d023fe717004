"""The user's kubeconfig: the same files and contents as kubectl would leave, and nothing of the user's is lost."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

import kins
from kins.components.layout import ENGINE
from kins.errors import KinsError
from kins.kubeconfig import Entry, build, dump, files, merge, remove, write_private
from kins.sys.process import start_time

SOURCES = Path(kins.__file__).resolve().parents[1]
ENTRY = Entry(
    name="kins-default",
    server="https://127.0.0.1:6443",
    certificate_authority_data=b"an authority",
    client_certificate_data=b"a certificate",
    client_key_data=b"a key",
)

# What a user has already: fields that kubectl knows and fields that nobody knows.
MINE = """\
apiVersion: v1
kind: Config
preferences:
  colors: true
future-field:
  answer: 42
clusters:
- name: mine
  cluster:
    server: https://mine.example.org
    insecure-skip-tls-verify: yes
    future-cluster-field: [1, 0.50, two]
    extensions:
    - name: example.org
      extension: {ratio: 0.50, when: 2024-01-01, octal: 0123, exponent: 1e5, "n": ~, text: "no", time: 1:30}
contexts:
- name: mine
  context: {cluster: mine, user: mine, namespace: "0123"}
users:
- name: mine
  user:
    token: "1e5"
    exec: {apiVersion: client.authentication.k8s.io/v1, command: login, args: [--on, "yes", "y"], env: null}
current-context: mine
"""

Kubectl = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def kubectl() -> Kubectl:
    """kubectl: the package's own one, or in a source tree that was not built the one on the path."""
    command = [str(ENGINE), "kubectl"] if ENGINE.exists() else [shutil.which("kubectl") or ""]
    if not command[0]:
        pytest.skip("there is no kubectl: this source tree was not built (make wheel), and none is on the path")

    def run(environment: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
        whole = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", **environment}
        return subprocess.run([*command, *arguments], env=whole, capture_output=True, text=True, check=False)

    return run


def view(kubectl: Kubectl, path: Path) -> Any:
    """A file as kubectl reads it."""
    done = kubectl({}, "config", "view", "--raw", "-o", "json", f"--kubeconfig={path}")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def tree(directory: Path) -> dict[str, bytes]:
    """Every file below a directory."""
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def names(path: Path, section: str) -> list[str]:
    """The names in a list of a file."""
    return [item["name"] for item in yaml.safe_load(path.read_text()).get(section) or []]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def other(name: str, **fields: Any) -> str:
    """A file with one cluster, context and user of that name."""
    content = {"apiVersion": "v1", "kind": "Config", "clusters": [{"name": name, "cluster": {"server": "https://x"}}]}
    content["contexts"] = [{"name": name, "context": {"cluster": name, "user": name}}]
    content["users"] = [{"name": name, "user": {"token": "x"}}]
    return yaml.safe_dump(content | fields)


# Scenario: (KUBECONFIG, relative to the test's directory; files that exist already)
SCENARIOS: dict[str, tuple[str | None, dict[str, str]]] = {
    "home-empty": (None, {}),
    "home-with-file": (None, {".kube/config": MINE}),
    "empty-variable": ("", {".kube/config": MINE}),
    "one-missing": ("new/config", {}),
    "one-empty-file": ("config", {"config": ""}),
    "list-all-missing": ("a:b:c", {}),
    "list-first-missing": ("a:b:c", {"b": other("b"), "c": other("c")}),
    "list-all-there": ("a:b", {"a": other("a"), "b": other("b")}),
    "list-with-doubles": ("a:b:a", {"b": other("b")}),
    "current-context-in-second": ("a:b", {"a": other("a"), "b": other("b", **{"current-context": "b"})}),
    "defined-in-second": ("a:b", {"a": other("a"), "b": other("kins-default")}),
    "defined-in-both": ("a:b", {"a": other("kins-default"), "b": other("kins-default")}),
    "json": ("config", {"config": json.dumps(yaml.safe_load(other("a")), indent=2)}),
}


def prepare(directory: Path, scenario: str) -> dict[str, str]:
    """Lay a scenario's files out; returns the environment that names them."""
    listed, existing = SCENARIOS[scenario]
    for name, content in existing.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(content)
    environment = {"HOME": str(directory)}
    if listed is not None:
        environment["KUBECONFIG"] = ":".join(str(directory / name) if name else "" for name in listed.split(":"))
    return environment


def as_kubectl_does(kubectl: Kubectl, environment: Mapping[str, str], scratch: Path) -> None:
    """Add the entry with kubectl's own commands."""
    for name in ("certificate_authority", "client_certificate", "client_key"):
        (scratch / name).write_bytes(getattr(ENTRY, f"{name}_data"))
    authority, certificate, key = (
        scratch / "certificate_authority",
        scratch / "client_certificate",
        scratch / "client_key",
    )
    for arguments in (
        ["set-cluster", ENTRY.name, f"--server={ENTRY.server}", f"--certificate-authority={authority}"],
        ["set-credentials", ENTRY.name, f"--client-certificate={certificate}", f"--client-key={key}"],
        ["set-context", ENTRY.name, f"--cluster={ENTRY.name}", f"--user={ENTRY.name}"],
        ["use-context", ENTRY.name],
    ):
        embed = ["--embed-certs"] if arguments[0] in ("set-cluster", "set-credentials") else []
        done = kubectl(environment, "config", *arguments, *embed)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_merge_leaves_what_kubectl_would_leave(kubectl: Kubectl, tmp_path: Path, scenario: str) -> None:
    ours, theirs, scratch = tmp_path / "ours", tmp_path / "theirs", tmp_path / "scratch"
    for directory in (ours, theirs, scratch):
        directory.mkdir()
    merge(ENTRY, prepare(ours, scenario))
    as_kubectl_does(kubectl, prepare(theirs, scenario), scratch)
    left = sorted(tree(theirs))
    assert sorted(tree(ours)) == left
    for name in left:
        assert view(kubectl, ours / name) == view(kubectl, theirs / name), name


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_kubectl_uses_the_merged_cluster(kubectl: Kubectl, tmp_path: Path, scenario: str) -> None:
    environment = prepare(tmp_path, scenario)
    merge(ENTRY, environment)
    done = kubectl(environment, "config", "view", "--raw", "--minify", "-o", "json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["current-context"] == ENTRY.name
    assert found["clusters"][0]["cluster"]["server"] == ENTRY.server
    user = found["users"][0]["user"]
    assert user["client-certificate-data"] == b64encode(ENTRY.client_certificate_data).decode()
    assert user["client-key-data"] == b64encode(ENTRY.client_key_data).decode()


def test_what_is_merged_is_as_kubectl_reads_it_before(kubectl: Kubectl, tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(MINE)
    before = view(kubectl, path)
    merge(ENTRY, {"KUBECONFIG": str(path)})
    after = view(kubectl, path)
    for section in ("clusters", "contexts", "users"):
        assert [item for item in after[section] if item["name"] != ENTRY.name] == before[section]
    assert after["preferences"] == before["preferences"]


def test_unknown_fields_and_their_order_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(MINE)
    before = yaml.safe_load(MINE)
    merge(ENTRY, {"KUBECONFIG": str(path)})
    after = yaml.safe_load(path.read_text())
    assert list(after) == list(before)
    assert after["future-field"] == before["future-field"]
    assert after["clusters"][0] == before["clusters"][0]
    assert after["users"][0] == before["users"][0]


def test_fields_that_the_user_gave_our_entry_survive_an_update(tmp_path: Path) -> None:
    environment = {"KUBECONFIG": str(tmp_path / "config")}
    merge(ENTRY, environment)
    content = yaml.safe_load((tmp_path / "config").read_text())
    content["contexts"][0]["context"]["namespace"] = "web"
    (tmp_path / "config").write_text(yaml.safe_dump(content))
    moved = Entry(ENTRY.name, "https://127.0.0.1:7443", b"another", b"certificate", b"key")
    merge(moved, environment)
    after = yaml.safe_load((tmp_path / "config").read_text())
    assert after["contexts"] == [
        {"name": ENTRY.name, "context": {"cluster": ENTRY.name, "user": ENTRY.name, "namespace": "web"}}
    ]
    assert [item["cluster"]["server"] for item in after["clusters"]] == [moved.server]


def test_the_current_context_may_stay(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(other("mine", **{"current-context": "mine"}))
    merge(ENTRY, {"KUBECONFIG": str(path)}, make_current=False)
    assert yaml.safe_load(path.read_text())["current-context"] == "mine"


@pytest.mark.parametrize(
    "token", ["1e5", "0123", "12345", "yes", "y", "n", "off", "~", "null", "0o17", "1:30", "2024-01-01", "=", "<<", ""]
)
def test_a_string_stays_a_string_for_kubectl(kubectl: Kubectl, tmp_path: Path, token: str) -> None:
    path = tmp_path / "config"
    path.write_text(json.dumps({"users": [{"name": "mine", "user": {"token": token, "username": "mine"}}]}))
    merge(ENTRY, {"KUBECONFIG": str(path)})
    mine = next(item for item in view(kubectl, path)["users"] if item["name"] == "mine")
    assert mine["user"].get("token", "") == token


def test_an_empty_list_entry_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert merge(ENTRY, {"KUBECONFIG": f":{tmp_path / 'a'}::"}) == tmp_path / "a"
    assert list(tree(tmp_path)) == ["a"]


def test_one_file_by_two_spellings_is_locked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert merge(ENTRY, {"KUBECONFIG": "config:./config"}) == Path("config")


# Modes, links and owners


def test_a_file_is_private_from_birth(tmp_path: Path) -> None:
    # No chmod is ever called (an audit event tells), so that the mode at the end is the one of the birth.
    script = (
        "import os, sys\n"
        "sys.addaudithook(lambda event, _: event == 'os.chmod' and os._exit(3))\n"
        "from kins.kubeconfig import Entry, merge\n"
        "os.umask(0)\n"
        "merge(Entry('kins-a', 'https://127.0.0.1:1', b'', b'', b''), {'KUBECONFIG': sys.argv[1]})\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "config")]
    subprocess.run(command, env={**os.environ, "PYTHONPATH": str(SOURCES)}, check=True)
    assert {path.name: mode(path) for path in tmp_path.iterdir()} == {"config": 0o600}


def test_a_readable_file_becomes_private(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(MINE)
    path.chmod(0o644)
    merge(ENTRY, {"KUBECONFIG": str(path)})
    assert mode(path) == 0o600


def test_a_readable_remainder_never_holds_the_key(tmp_path: Path) -> None:
    # A killed process may have had our pid.
    remainder = tmp_path / f".config.{os.getpid()}"
    remainder.touch(mode=0o644)
    with remainder.open("rb") as spy:
        write_private(tmp_path / "config", b"secret")
        assert spy.read() == b""
    assert mode(tmp_path / "config") == 0o600


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    target, link = tmp_path / "dotfiles" / "kubeconfig", tmp_path / "config"
    target.parent.mkdir()
    target.write_text(MINE)
    link.symlink_to(target)
    merge(ENTRY, {"KUBECONFIG": str(link)})
    assert link.is_symlink()
    assert names(target, "clusters") == ["mine", ENTRY.name]


def test_no_key_stays_behind_a_link(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "config"
    target.write_text("")
    link.symlink_to(target)
    merge(ENTRY, {"KUBECONFIG": str(link)})
    assert b64encode(ENTRY.client_key_data) in target.read_bytes()
    remove(ENTRY.name, {"KUBECONFIG": str(link)})
    assert link.is_symlink()
    assert b64encode(ENTRY.client_key_data) not in target.read_bytes()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can write a file that belongs to somebody else")
def test_root_leaves_a_file_to_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(MINE)
    os.chown(path, 12345, 23456)
    merge(ENTRY, {"KUBECONFIG": str(path)})
    assert (path.stat().st_uid, path.stat().st_gid) == (12345, 23456)


# Locks


def test_kubectl_waits_outside_our_lock(kubectl: Kubectl, tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(MINE)
    with files.locked([path]):
        refused = kubectl({}, "config", "set-cluster", "other", "--server=https://x", f"--kubeconfig={path}")
    assert refused.returncode != 0
    assert "config.lock" in refused.stderr
    assert path.read_text() == MINE
    allowed = kubectl({}, "config", "set-cluster", "other", "--server=https://x", f"--kubeconfig={path}")
    assert allowed.returncode == 0, allowed.stderr


def test_a_foreign_lock_is_named_and_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "LOCK_SECONDS", 0.1)
    first, second = tmp_path / "a", tmp_path / "b"
    first.write_text(MINE)
    lock = tmp_path / "b.lock"
    lock.touch()
    with pytest.raises(KinsError, match=r"b\.lock") as caught:
        merge(ENTRY, {"KUBECONFIG": f"{first}:{second}"})
    assert caught.value.code == "kubeconfig-locked"
    assert caught.value.hint == f"rm {lock}"
    assert tree(tmp_path) == {"a": MINE.encode(), "b.lock": b""}, "our own lock of the first file is gone"


def test_a_lock_of_a_killed_kins_is_taken_away(tmp_path: Path) -> None:
    """Its text names a process: pid 1 with another start than it has."""
    lock = tmp_path / ".kube" / "config.lock"
    home = {"HOME": str(tmp_path)}
    for act in (lambda: remove(ENTRY.name, home), lambda: merge(ENTRY, home), lambda: remove(ENTRY.name, home)):
        lock.parent.mkdir(exist_ok=True)
        lock.write_text(f"{files.MARK} 1 {start_time(1) + 1}\n")
        act()
        assert sorted(tree(tmp_path)) in ([], [".kube/config"])
    assert list(tmp_path.iterdir()) == []


def test_the_lock_of_a_kins_that_runs_stays(tmp_path: Path) -> None:
    lock = tmp_path / "config.lock"
    lock.write_text(f"{files.MARK} 1 {start_time(1)}\n")
    assert not files.clear_stale(tmp_path / "config")
    assert lock.exists()


def test_a_lock_is_waited_for(tmp_path: Path) -> None:
    lock = tmp_path / "config.lock"
    lock.touch()
    merging = threading.Thread(target=merge, args=(ENTRY, {"KUBECONFIG": str(tmp_path / "config")}))
    merging.start()
    time.sleep(0.2)
    assert not (tmp_path / "config").exists()
    lock.unlink()
    merging.join(timeout=30)
    assert list(tree(tmp_path)) == ["config"]


def test_programs_that_merge_at_once_lose_nothing(tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "from kins.kubeconfig import Entry, files, merge\n"
        "files.LOCK_SECONDS = 60\n"
        "sys.stdin.readline()\n"
        "for round in range(5):\n"
        "    name = f'kins-{sys.argv[1]}-{round}'\n"
        "    merge(Entry(name, 'https://127.0.0.1:1', b'', b'', b''), {'KUBECONFIG': sys.argv[2]})\n"
    )
    path = tmp_path / "config"
    environment = {**os.environ, "PYTHONPATH": str(SOURCES)}
    running = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(number), str(path)], env=environment, stdin=subprocess.PIPE, text=True
        )
        for number in range(4)
    ]
    for process in running:
        process.communicate("go\n", timeout=60)
    assert [process.returncode for process in running] == [0, 0, 0, 0]
    wanted = {f"kins-{number}-{turn}" for number in range(4) for turn in range(5)}
    for section in ("clusters", "contexts", "users"):
        assert set(names(path, section)) == wanted
    assert list(tree(tmp_path)) == ["config"]


def test_a_directory_may_go_while_its_lock_is_waited_for(tmp_path: Path) -> None:
    # Another program's removal takes kubectl's own directory with the last file in it.
    lock = tmp_path / ".kube" / "config.lock"
    lock.parent.mkdir()
    lock.touch()
    merging = threading.Thread(target=merge, args=(ENTRY, {"HOME": str(tmp_path)}))
    merging.start()
    time.sleep(0.2)
    lock.unlink()
    lock.parent.rmdir()
    merging.join(timeout=30)
    assert list(tree(tmp_path)) == [".kube/config"]
    remove(ENTRY.name, {"HOME": str(tmp_path)})
    assert list(tmp_path.iterdir()) == []


# Removal


@pytest.mark.parametrize("scenario", [name for name in SCENARIOS if not name.startswith("defined")])
def test_removal_takes_back_what_merging_did(kubectl: Kubectl, tmp_path: Path, scenario: str) -> None:
    environment = prepare(tmp_path, scenario)
    before = {path: view(kubectl, tmp_path / path) for path, content in tree(tmp_path).items() if content}
    merge(ENTRY, environment)
    remove(ENTRY.name, environment)
    after = {path: view(kubectl, tmp_path / path) for path in tree(tmp_path)}
    replaced = {"current-context": ""} if scenario in ("home-with-file", "empty-variable") else {}
    assert after == {path: content | replaced for path, content in before.items()}


def test_removal_leaves_a_current_context_that_is_not_ours(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(other("mine"))
    environment = {"KUBECONFIG": str(path)}
    merge(ENTRY, environment)
    content = yaml.safe_load(path.read_text()) | {"current-context": "mine"}
    path.write_text(yaml.safe_dump(content))
    remove(ENTRY.name, environment)
    assert yaml.safe_load(path.read_text())["current-context"] == "mine"


def test_removal_finds_the_entry_in_every_file(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    first.write_text(other(ENTRY.name))
    second.write_text(other(ENTRY.name, **{"current-context": ENTRY.name, "future-field": "kept"}))
    assert remove(ENTRY.name, {"KUBECONFIG": f"{first}:{second}"}) == [first, second]
    assert not first.exists()
    content = yaml.safe_load(second.read_text())
    assert (content["current-context"], content["future-field"]) == ("", "kept")
    assert not any(content[section] for section in ("clusters", "contexts", "users"))


def test_removal_of_what_is_not_there_touches_nothing(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(MINE)
    before = path.stat()
    (tmp_path / "config.lock").touch()
    assert remove(ENTRY.name, {"KUBECONFIG": f"{path}:{tmp_path / 'missing' / 'config'}"}) == []
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert sorted(tree(tmp_path)) == ["config", "config.lock"]
    assert not (tmp_path / "missing").exists()


# Files that are none


@pytest.mark.parametrize(
    "content",
    [b"clusters: [", b"- a\n- b\n", b"clusters: {a: b}\n", b"clusters:\n- server: x\n", b"\x00\x01", b"a: 1\na: *b\n"],
    ids=["syntax", "list", "no-list", "no-name", "binary", "alias"],
)
def test_an_invalid_file_is_named_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "config"
    path.write_bytes(content)
    for change in (lambda: merge(ENTRY, {"KUBECONFIG": str(path)}), lambda: remove("x", {"KUBECONFIG": str(path)})):
        with pytest.raises(KinsError) as caught:
            change()
        assert caught.value.code == "kubeconfig-invalid"
        assert str(path) in caught.value.message
        assert tree(tmp_path) == {"config": content}


def test_a_directory_is_no_kubeconfig(tmp_path: Path) -> None:
    with pytest.raises(KinsError) as caught:
        merge(ENTRY, {"KUBECONFIG": str(tmp_path)})
    assert caught.value.code == "kubeconfig-invalid"


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(KinsError) as caught:
        merge(ENTRY, {"KUBECONFIG": str(tmp_path / "file" / "config")})
    assert caught.value.code == "kubeconfig-unwritable"
    assert caught.value.hint


def test_a_kubeconfig_of_its_own(kubectl: Kubectl, tmp_path: Path) -> None:
    write_private(tmp_path / "kubeconfig", dump(build(ENTRY)))
    found = view(kubectl, tmp_path / "kubeconfig")
    assert found["current-context"] == ENTRY.name
    assert [item["name"] for section in ("clusters", "contexts", "users") for item in found[section]] == [
        ENTRY.name
    ] * 3
