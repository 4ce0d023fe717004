"""Steps and their journal: recorded before they are executed, undone from the record alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from kins.cluster.kubelet_view import hidden_place_steps, kubelet_view
from kins.components import Layout
from kins.errors import KinsError
from kins.plan import AnyStep, Journal
from kins.plan.files import CreateFile, MakeDirectory
from kins.plan.kernel import AddAddress, AddBridge, MakeControlGroup, SetSysctl
from kins.plan.mounts import BindMount, MountFileSystem, Unmount
from kins.plan.origin import Origin
from kins.sys import process


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal.jsonl")


def test_steps_are_undone_from_the_disk(journal: Journal, tmp_path: Path) -> None:
    deep, file = tmp_path / "a" / "b", tmp_path / "a" / "b" / "file"
    steps = [
        MakeDirectory(path=str(deep), because="test"),
        CreateFile(path=str(file), content="x", mode=0o600, because="test"),
    ]
    assert len(journal.execute(steps)) == 2
    assert file.read_text() == "x"
    assert file.stat().st_mode & 0o777 == 0o600
    Journal(journal.path).undo()
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_already_is_neither_made_nor_undone(journal: Journal, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("mine")
    steps = [
        MakeDirectory(path=str(tmp_path / "mine"), because="test"),
        CreateFile(path=str(tmp_path / "mine" / "file"), content="other", because="test"),
    ]
    assert journal.execute(steps) == []
    journal.undo()
    assert (tmp_path / "mine" / "file").read_text() == "mine"


def test_a_step_is_on_disk_before_it_is_executed(journal: Journal, tmp_path: Path) -> None:
    # The file's directory does not exist, so that executing fails: the record must be there nevertheless.
    step = CreateFile(path=str(tmp_path / "none" / "file"), because="the-fact")
    with pytest.raises(KinsError, match="the-fact"):
        journal.execute([step])
    assert journal.steps() == [step]
    journal.undo()
    assert not journal.path.exists()


def test_a_directory_with_foreign_content_stays(journal: Journal, tmp_path: Path) -> None:
    journal.execute([MakeDirectory(path=str(tmp_path / "a" / "b"), because="test")])
    (tmp_path / "a" / "theirs").write_text("")
    journal.undo()
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["theirs"]


def test_a_cut_off_line_was_never_executed(journal: Journal, tmp_path: Path) -> None:
    journal.execute([MakeDirectory(path=str(tmp_path / "a"), because="test")])
    with open(journal.path, "ab") as file:
        file.write(b'{"type":"MakeDirec')
    assert len(journal.steps()) == 1
    journal.undo()
    assert not (tmp_path / "a").exists()


def test_one_failing_undo_does_not_keep_the_others(journal: Journal, tmp_path: Path) -> None:
    steps = [
        CreateFile(path=str(tmp_path / "first"), because="test"),
        MakeControlGroup(path=str(tmp_path / "group"), because="test"),
    ]
    journal.execute(steps)
    (tmp_path / "group" / "busy").touch()  # no directory with something in it can be removed, by root neither
    with pytest.raises(KinsError, match="group") as caught:
        journal.undo()
    assert caught.value.code == "undo-failed"
    assert not (tmp_path / "first").exists()
    assert journal.path.exists(), "what could not be undone stays on record"


def test_a_file_that_is_not_ours_any_more_stays(journal: Journal, tmp_path: Path) -> None:
    written, replaced = tmp_path / "written", tmp_path / "replaced"
    journal.execute([CreateFile(path=str(path), content="ours", because="test") for path in (written, replaced)])
    written.write_text("ours, and theirs")
    replaced.unlink()
    replaced.symlink_to("/dev/null")
    journal.undo()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["replaced", "written"]


def test_a_file_that_was_not_written_to_its_end_goes(journal: Journal, tmp_path: Path) -> None:
    journal.execute([CreateFile(path=str(tmp_path / "file"), content="content", because="test")])
    (tmp_path / "file").write_text("con")
    journal.undo()
    assert list(tmp_path.iterdir()) == []


# What a journal says about where it was written


def recorded(journal: Journal, place: Origin, *steps: AnyStep) -> Journal:
    """A journal as another process has left it."""
    journal.path.write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in (place, *steps)))
    return journal


def test_a_journal_begins_with_its_origin(journal: Journal, tmp_path: Path) -> None:
    for name in ("a", "b"):
        journal.execute([MakeDirectory(path=str(tmp_path / name), because="test")])
    assert len(journal.path.read_text().splitlines()) == 3
    here = journal.origin()
    assert here == Origin.here()
    assert here is not None
    assert (bool(here.boot), bool(here.network)) == (True, True)


def test_a_journal_of_an_older_kins_is_undone(journal: Journal, tmp_path: Path) -> None:
    journal.execute([MakeDirectory(path=str(tmp_path / "a"), because="test")])
    journal.path.write_text("".join(journal.path.read_text().splitlines(keepends=True)[1:]))
    assert journal.origin() is None
    journal.undo()
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    ("step", "ends_with"),
    [
        (SetSysctl(name="kernel/panic", value="1", because="test"), "kernel"),
        (SetSysctl(name="net/ipv4/ip_forward", value="1", because="test"), "network"),
        (AddBridge(name="lo", address="10.0.0.1/8", because="test"), "network"),
        (AddAddress(link="lo", address="127.0.0.1/8", because="test"), "network"),
        (MakeControlGroup(path="/nosuch", because="test"), "kernel"),
        (MakeDirectory(path="/nosuch", because="test"), "files"),
        (CreateFile(path="/nosuch", because="test"), "files"),
    ],
)
def test_where_a_steps_effect_is(step: AnyStep, ends_with: str) -> None:
    assert step.scope == ends_with


def test_after_a_restart_files_go_and_what_is_in_the_kernel_stays(journal: Journal, tmp_path: Path) -> None:
    (tmp_path / "group").mkdir()
    (tmp_path / "file").touch()
    before = Origin(boot="another", network=Origin.here().network)
    group = MakeControlGroup(path=str(tmp_path / "group"), because="test")
    recorded(journal, before, group, CreateFile(path=str(tmp_path / "file"), because="test")).undo()
    assert [path.name for path in tmp_path.iterdir()] == ["group"], "somebody else's, of the same name"


@pytest.mark.parametrize(
    ("told", "now", "same"),
    [
        ("name/btime 1", "name/btime 1", True),
        ("name/btime 1", "another/btime 1", True),  # by another procfs of gVisor
        ("name/btime 1", "name/btime 9", True),  # the clock was set
        ("name/btime 1", "another/btime 9", False),
        ("name", "name/btime 1", True),  # by an older kins
        ("", "name/btime 1", False),
        ("", "", True),
    ],
)
def test_a_boot_is_known_by_its_name_or_its_time(
    told: str, now: str, same: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "boot", lambda: now)
    assert process.is_this_boot(told) is same


def test_what_is_in_another_network_stays(journal: Journal) -> None:
    """Loopback cannot be deleted: an attempt would fail."""
    gone = Origin(boot=Origin.here().boot, network="cookie 0")
    recorded(journal, gone, AddBridge(name="lo", address="10.0.0.1/8", because="test")).undo()
    assert not journal.path.exists()


def test_the_kubelets_view_leaves_the_nodes_own_mounts_alone() -> None:
    files = Layout(Path("/cluster"))
    hidden = hidden_place_steps(files)
    steps = kubelet_view(files, "kins-group")
    lines = [step.describe() for step in steps]
    bound = [step.target.removeprefix("/sys/fs/cgroup/cpuacct/") for step in steps if isinstance(step, BindMount)]
    assert bound[1:] == [
        "cgroup.procs",
        "tasks",
        "cpuacct.stat",
        "cpuacct.usage",
        "cpuacct.usage_percpu",
        "kins-group",
    ]
    assert lines[0] == "mount --make-rprivate /sys"
    # What is unmounted lies on a private mount: else it would go from the node's namespace as well.
    (private,) = (step.target for step in hidden if isinstance(step, MountFileSystem) and step.private)
    (unmounted,) = (step.target for step in steps if isinstance(step, Unmount))
    assert Path(unmounted).parent == Path(private)


READ_ONLY_SETTINGS = """
mount --make-rprivate /
mount --bind /proc/sys /proc/sys
mount -o remount,bind,ro /proc/sys
exec "$0" -c '
from pathlib import Path
from kins.plan.kernel import SetSysctl
from kins.sandbox import probe
assert probe(Path("/tmp")).sysctls["net/ipv4/ip_forward"].writable
step = SetSysctl(name="net/ipv4/ip_forward", value="1", because="test").prepare()
print(step.path.read_text().strip())
step.execute()
print(step.path.read_text().strip())
step.undo()
print(step.path.read_text().strip())
'
"""


@pytest.mark.skipif(os.getuid() != 0, reason="a network namespace with settings of its own needs root")
def test_settings_are_made_and_taken_back_where_they_are_mounted_read_only() -> None:
    """As in a container; in a network namespace of the test's own."""
    command = ["unshare", "--mount", "--net", "sh", "-euc", READ_ONLY_SETTINGS, sys.executable]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (done.stdout.split(), done.stderr) == (["0", "1", "0"], "")


COVER = """
import ctypes, os, subprocess, sys
from pathlib import Path
from kins.cluster.script import rendering
from kins.plan.mounts import CoverDirectory
from kins.sys import namespaces, user_namespaces
system, original, way = sys.argv[1:]
os.setgid(65534)
os.setuid(65534)
ctypes.CDLL(None).prctl(4, 1)  # PR_SET_DUMPABLE, as for a process that was this user from its start
functions = Path(rendering.__file__).parent / "functions.sh"
def cover():
    step = CoverDirectory(target=system, original=original, because="test")
    if way == "step":
        step.execute()
    else:
        subprocess.run(["sh", "-euc", f". {functions}\\n{step.describe()}"], check=True)
    Path(system, "made", "deeper").mkdir(parents=True)
    found = Path(system)
    print(*sorted(each.name for each in found.iterdir()), oct(found.stat().st_mode))
    print((found / "file").read_text(), os.readlink(found / "link"), (found / "directory" / "inner").read_text())
    print(*sorted(each.name for each in Path(original).iterdir()), flush=True)
user_namespaces.run_with_private_mounts(cover)
"""


@pytest.mark.skipif(os.getuid() != 0, reason="becoming another user needs root")
@pytest.mark.parametrize("way", ["step", "shell"])
def test_a_covered_directory_is_as_before_and_writable(open_path: Path, way: str) -> None:
    """For an ordinary user, by the step and by the line of shell that says the same."""
    system, original = open_path / "system", open_path / "original"
    (system / "directory").mkdir(parents=True)
    (system / "directory" / "inner").write_text("inner")
    (system / "file").write_text("file")
    (system / "link").symlink_to("nowhere")
    original.mkdir()
    os.chown(original, 65534, 65534)
    command = [sys.executable, "-c", COVER, str(system), str(original), way]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    before = "directory file link"
    assert done.stdout.splitlines() == [f"{before} made 0o40755", "file nowhere inner", before], done.stderr
    assert sorted(each.name for each in system.iterdir()) == before.split()
    assert list(original.iterdir()) == []
