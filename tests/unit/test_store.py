"""What is asked for, where it is kept, and what those who wait are told."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import kins
from kins.cluster import deletion, home_directory, locking, store
from kins.cluster.events import Event, EventLog
from kins.cluster.spec import (
    KUBELETS,
    ClusterSpec,
    Decisions,
    KubeletDecision,
    Missing,
    Record,
    parse_argument,
    parse_publish,
    publish_text,
    validate_name,
)
from kins.components import COMPONENT_NAMES, PublishedPort, Settings
from kins.components.settings import Ports
from kins.errors import KinsError, UsageError

SOURCES = Path(kins.__file__).resolve().parents[1]
GOOD_NAMES = ["default", "a", "0", "a-b", "a--b", "1-2", "a" * 58]
BAD_NAMES = ["", "A", "-a", "a-", "a_b", "a.b", "a" * 59, "ä", "a\n", "\na", "..", "../a", "a/b", " ", "a b", "٣"]


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home of our own, on a path that is short enough for the sockets in it."""
    place = Path(tempfile.mkdtemp(prefix="kins-"))
    monkeypatch.setenv("KINS_HOME", str(place / "home"))
    yield place / "home"
    shutil.rmtree(place)


def a_record(name: str = "default") -> Record:
    """A record with a value in every field."""
    arguments = {"kube-apiserver": ("--v=4", "--feature-gates=A=true,B=false"), "etcd": ("--quota=ü",)}
    published = (PublishedPort(address="127.0.0.1", port=8080, node_port=30080),)
    settings = Settings(
        name=name,
        node_name=f"kins-{name}",
        node_address="10.42.0.1",
        pod_range="10.42.0.0/16",
        service_range="10.43.0.0/16",
        load_balancer_range="10.44.0.0/16",
        api_service_address="10.43.0.1",
        dns_address="10.43.0.10",
        ports=Ports(
            api=6443,
            controller_manager=10257,
            scheduler=10259,
            kubelet=10250,
            kubelet_health=10248,
            metrics_server=10251,
        ),
        published=published,
        arguments=arguments,
    )
    decisions = Decisions(
        level="control-plane",
        missing=(Missing(fact="mounts", cause="EPERM", consequence="no volumes", hint="be root"),),
        limits=("a limit",),
        kubelet=KubeletDecision(kind="stock", because="asked for", view=True),
        snapshotter="native",
        images_on="tmpfs",
    )
    spec = ClusterSpec(name=name, level="control-plane", kubelet="stock", published=published, arguments=arguments)
    return Record(identity="012abc", spec=spec, decisions=decisions, settings=settings)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# Requests


def test_kubelets_that_there_are() -> None:
    for kind in KUBELETS:
        ClusterSpec(kubelet=kind).validate()
    for wrong, code in (
        (ClusterSpec(kubelet="no-kubelet"), "unknown-kubelet"),
        (ClusterSpec(kubelet="stock", level="control-plane"), "needs-node"),
    ):
        with pytest.raises(UsageError) as caught:
            wrong.validate()
        assert caught.value.code == code
        assert caught.value.hint


@pytest.mark.parametrize("name", GOOD_NAMES)
def test_names_that_kubernetes_takes(name: str) -> None:
    ClusterSpec(name=name).validate()
    # The node is called so, and it must be a label of at most 63 bytes.
    assert len(f"kins-{name}") <= 63


@pytest.mark.parametrize("name", BAD_NAMES)
def test_names_that_would_harm(name: str) -> None:
    for refuse in (validate_name, store.layout, store.existing, lambda name: ClusterSpec(name=name).validate()):
        with pytest.raises(UsageError) as caught:
            refuse(name)
        assert caught.value.code == "invalid-name"
        assert repr(name) in caught.value.message
        assert caught.value.hint


def test_arguments_of_components_that_there_are() -> None:
    ClusterSpec(arguments=dict.fromkeys(COMPONENT_NAMES, ("--v=4",))).validate()
    with pytest.raises(UsageError, match="kube-api") as caught:
        ClusterSpec(arguments={"kube-api": ("--v=4",)}).validate()
    assert caught.value.code == "unknown-component"
    assert caught.value.hint is not None
    assert all(name in caught.value.hint for name in COMPONENT_NAMES)


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("kube-apiserver:v=4", ("kube-apiserver", "--v=4")),
        ("kube-apiserver:--v=4", ("kube-apiserver", "--v=4")),
        ("kubelet:node-labels=a=b,c=d", ("kubelet", "--node-labels=a=b,c=d")),
        ("etcd:listen-metrics-urls=http://127.0.0.1:1", ("etcd", "--listen-metrics-urls=http://127.0.0.1:1")),
        ("etcd:name=", ("etcd", "--name=")),
    ],
)
def test_arguments_are_passed_on_as_they_are(text: str, parsed: tuple[str, str]) -> None:
    assert parse_argument(text) == parsed


@pytest.mark.parametrize("text", ["", "etcd", "etcd:", "etcd:name", "etcd=name", "etcd:=x", "etcd:--=x", "v=4"])
def test_arguments_of_another_form(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_argument(text)
    assert caught.value.code == "invalid-argument"
    assert caught.value.hint == "kins up --arg kube-apiserver:v=4"


@pytest.mark.parametrize(
    ("text", "address"),
    [("8080:30080", "127.0.0.1"), ("0.0.0.0:8080:30080", "0.0.0.0"), ("192.0.2.1:8080:30080", "192.0.2.1")],
)
def test_published_ports(text: str, address: str) -> None:
    published = parse_publish(text)
    assert published == PublishedPort(address=address, port=8080, node_port=30080)
    assert parse_publish(publish_text(published)) == published


@pytest.mark.parametrize(
    "text",
    ["", "80", ":", "80:", ":80", "a:80", "80:a", "0:80", "80:65536", "::1:80:80", "h:80:80", "1:2:3:4", "-1:80"],
)
def test_published_ports_of_another_form(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_publish(text)
    assert caught.value.code == "invalid-publish"


def test_a_port_is_published_once() -> None:
    twice = tuple(parse_publish(text) for text in ("80:30080", "127.0.0.1:80:30081"))
    with pytest.raises(UsageError) as caught:
        ClusterSpec(published=twice).validate()
    assert caught.value.code == "invalid-publish"


# Places


def test_home_is_what_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KINS_HOME", "relative")
    assert home_directory.path() == tmp_path / "relative"
    monkeypatch.setenv("KINS_HOME", "")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert home_directory.path() == tmp_path / "data" / "kins"
    monkeypatch.delenv("KINS_HOME")
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert home_directory.path() == tmp_path / ".local" / "share" / "kins"


def test_every_socket_fits_below_the_longest_directory(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    padding = store.LONGEST_DIRECTORY - len(str(home / "clusters" / "default")) - 1
    monkeypatch.setenv("KINS_HOME", str(home / ("x" * padding)))
    files = store.layout("default")
    assert len(str(files.directory)) == store.LONGEST_DIRECTORY
    files.make_directories()
    notices = [files.runtime / f"notify-{name}.sock" for name in COMPONENT_NAMES]
    for path in (*notices, files.control_socket, files.etcd_socket, files.containerd_socket):
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
    with pytest.raises(UsageError) as caught:
        store.layout("default1")
    assert caught.value.code == "path-too-long"
    assert str(files.directory) in caught.value.message


def test_only_clusters_are_listed(home: Path) -> None:
    assert store.names() == []
    for name in ("b", "a"):
        with locking.exclusive(name):
            store.layout(name).make_directories()
    with locking.exclusive("a"):
        assert store.names() == ["a", "b"]


def test_directories_are_their_owners(home: Path) -> None:
    before = os.umask(0)
    try:
        with locking.exclusive("a"):
            store.layout("a").make_directories()
    finally:
        os.umask(before)
    files = store.layout("a")
    assert [mode(path) for path in (files.directory, files.pki, files.runtime, files.logs)] == [0o700] * 4
    # Pods of any user read their volumes there.
    assert mode(files.kubelet_root) == 0o755


def test_a_cluster_that_is_not_there(home: Path) -> None:
    with pytest.raises(KinsError, match="nosuch") as caught:
        store.existing("nosuch")
    assert (caught.value.code, caught.value.hint) == ("no-such-cluster", "kins list")
    assert not isinstance(caught.value, UsageError)
    assert not home.exists(), "asking changes nothing"


def test_forgetting_leaves_nothing_of_the_cluster_and_all_of_the_others(home: Path) -> None:
    for name in ("a", "b"):
        with locking.exclusive(name):
            store.layout(name).make_directories()
    for gone, left in (("a", ["b"]), ("a", ["b"]), ("b", [])):
        with locking.exclusive(gone):
            store.forget(store.layout(gone))
        assert store.names() == left
    assert not home.exists()


def test_forgetting_leaves_a_home_with_something_else_in_it(home: Path) -> None:
    with locking.exclusive("a"):
        store.layout("a").make_directories()
        (home / "mine").touch()
        store.forget(store.layout("a"))
    assert "mine" in os.listdir(home)
    assert "clusters" not in os.listdir(home)


def test_directories_above_go_when_they_were_made_for_us(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home.mkdir()
    monkeypatch.setenv("KINS_HOME", str(home / "a" / "b"))
    with locking.exclusive("dev"):
        store.layout("dev").make_directories()
    assert store.names() == ["dev"]
    with locking.exclusive("dev"):
        store.forget(store.layout("dev"))
    assert list(home.iterdir()) == []


# Records


def test_a_record_comes_back_as_it_was(home: Path) -> None:
    files = store.layout("default")
    files.make_directories()
    assert store.record(files) is None
    before = os.umask(0)
    try:
        store.save(files.record, a_record())
    finally:
        os.umask(before)
    assert store.record(files) == a_record()
    assert mode(files.record) == 0o600
    store.save(files.record, a_record("other"))
    assert store.record(files) == a_record("other")
    assert [path.name for path in files.directory.iterdir() if path.is_file()] == ["cluster.json"]


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"{}", b'{"identity": 1}', b"\0" * 100, b"\xff\xfe", b'{"identity": "\xff"}']
)
def test_a_damaged_record_is_named(home: Path, content: bytes) -> None:
    files = store.layout("broken")
    files.make_directories()
    files.record.write_bytes(content)
    with pytest.raises(KinsError) as caught:
        store.record(files)
    assert str(files.record) in caught.value.message
    assert (caught.value.code, caught.value.hint) == ("state-damaged", "kins down broken")


# The supervisor


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process that lives until it is killed."""
    with subprocess.Popen(["/bin/sleep", "1000"]) as process:
        yield process
        process.kill()


def test_a_supervisor_lives_as_long_as_its_process(home: Path, sleeper: subprocess.Popen[bytes]) -> None:
    files = store.layout("default")
    files.make_directories()
    assert store.supervisor(files) is None
    record = store.ProcessRecord.of(sleeper.pid)
    store.save(files.supervisor, record)
    assert store.supervisor(files) == record
    sleeper.send_signal(signal.SIGKILL)
    # Not reaped yet: a zombie supervises nothing.
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)
    assert store.supervisor(files) is None
    sleeper.wait()
    assert store.supervisor(files) is None


def test_another_process_of_the_same_pid_is_not_taken_for_it(sleeper: subprocess.Popen[bytes]) -> None:
    record = store.ProcessRecord.of(sleeper.pid)
    assert record.is_alive()
    earlier = store.ProcessRecord(pid=record.pid, start_time=record.start_time - 1, boot=record.boot)
    before_the_boot = store.ProcessRecord(pid=record.pid, start_time=record.start_time, boot="another")
    assert not earlier.is_alive()
    assert not before_the_boot.is_alive()


def test_a_damaged_supervisor_record_is_that_of_a_dead_one(home: Path) -> None:
    files = store.layout("default")
    files.make_directories()
    files.supervisor.write_bytes(b"")
    assert store.supervisor(files) is None


def test_whoever_stays_outside_of_a_node_ends_with_it(home: Path, sleeper: subprocess.Popen[bytes]) -> None:
    files = store.layout("default")
    files.make_directories()
    deletion.stop(files)
    store.save(files.outside, store.ProcessRecord.of(sleeper.pid))
    deletion.stop(files)
    assert sleeper.wait(10) == -signal.SIGKILL
    assert store.outside(files) is None
    assert not files.outside.exists()


# One command at a time


HOLDER = """
import sys
from kins.cluster import home_directory, locking, store
with locking.exclusive(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.readline()
"""


def test_a_cluster_is_changed_by_one_command_at_a_time(home: Path) -> None:
    command = [sys.executable, "-c", HOLDER, "a"]
    environment = {**os.environ, "PYTHONPATH": str(SOURCES)}
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(KinsError) as caught, locking.exclusive("a"):
            pytest.fail("two hold it")
        assert (caught.value.code, caught.value.hint) == ("cluster-busy", "kins status a")
        with locking.exclusive("b"):
            pass
        holder.kill()
        holder.wait()
        # What a killed command leaves behind keeps nobody out.
        assert (home / "clusters" / "a.lock").exists()
        with locking.exclusive("a"):
            pass
    assert not home.exists()


def test_a_failing_command_gives_the_cluster_free(home: Path) -> None:
    with pytest.raises(RuntimeError), locking.exclusive("a"):
        raise RuntimeError
    with locking.exclusive("a"):
        pass


# Events


def event(phase: str, **fields: str) -> Event:
    return Event(phase=phase, seconds=1.5, message=f"{phase} it is", **fields)


async def followed(log: EventLog) -> list[str]:
    return [each.phase async for each in log.follow()]


@pytest.mark.parametrize("last", ["ready", "failed"])
def test_every_listener_hears_everything(last: str) -> None:
    async def run() -> None:
        log = EventLog()
        listeners = [asyncio.create_task(followed(log))]
        await asyncio.sleep(0)
        for phase in ("probed", "etcd", "api"):
            await log.add(event(phase))
            listeners.append(asyncio.create_task(followed(log)))
            assert not log.finished
        await log.add(event(last))
        assert log.finished
        # Nothing follows a last one.
        await log.add(event("late"))
        listeners.append(asyncio.create_task(followed(log)))
        async with asyncio.timeout(30):
            heard = await asyncio.gather(*listeners)
        assert heard == [["probed", "etcd", "api", last]] * 5

    asyncio.run(run())


def test_a_listener_waits_for_the_last_event() -> None:
    async def run() -> None:
        log = EventLog()
        await log.add(event("probed"))
        listener = asyncio.create_task(followed(log))
        await asyncio.sleep(0.05)
        assert not listener.done()
        listener.cancel()
        await asyncio.wait([listener])
        # One that left does not disturb the others.
        await log.add(event("ready"))
        assert await followed(log) == ["probed", "ready"]

    asyncio.run(run())


def test_an_event_comes_back_as_it_was(tmp_path: Path) -> None:
    for each in (event("probed"), event("failed", code="timeout", hint="kins logs")):
        store.save(tmp_path / "event.json", each)
        assert store.load(tmp_path / "event.json", Event) == each
    assert store.load(tmp_path / "none.json", Event) is None
