"""What the facts of a sandbox mean for other node software, and how what a killed run left is found."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from kins.cluster import home_directory
from kins.errors import KinsError, UsageError
from kins.intercept import OneId, Redirect, Rule
from kins.plan import AnyStep
from kins.plan.control_groups import ClearControlGroups, EnterControlGroups
from kins.plan.files import CreateFile, MakeDirectory
from kins.plan.kernel import MakeControlGroup, SetSysctl
from kins.plan.mounts import BindMount, CoverDirectory, MountFileSystem
from kins.run.environment import Request, environment_steps, shortcomings
from kins.run.groups import group_steps
from kins.run.isolation import Grounds, choose
from kins.run.messages import Failed, Stopped, decode, encode
from kins.run.remains import RunFiles, clear_remains, new_run
from kins.run.tracing import emulates_control_groups, rules
from kins.sandbox import Facts
from kins.sandbox.facts import Answer

FACTS = Path(__file__).parent / "facts"
REQUEST = Request(command=("true",))


class Recorded(msgspec.Struct):
    facts: Facts


def facts(name: str) -> Facts:
    """What a real sandbox answered."""
    return msgspec.json.decode((FACTS / f"{name}.json").read_bytes(), type=Recorded).facts


def steps(name: str, request: Request = REQUEST) -> list[AnyStep]:
    return environment_steps(RunFiles(Path("/home/runs/0a1b2c")), request, choose(facts(name)))


def rules_of(found: Facts) -> list[Rule]:
    return rules(found, Path("/home/runs/0a1b2c/proc-sys"))


def untraced(found: Facts) -> Facts:
    return msgspec.structs.replace(found, interception=Answer(False, "refused"))


def mounted(plan: Sequence[AnyStep]) -> dict[str, str]:
    """What is mounted where: a kind, or what is bound."""
    found = {each.target: each.kind for each in plan if isinstance(each, MountFileSystem)}
    return found | {each.target: each.source for each in plan if isinstance(each, BindMount)}


def test_data_is_in_memory_where_overlay_works_on_no_disk() -> None:
    assert mounted(steps("gvisor-overlay"))["/var/lib/docker"] == "tmpfs"
    assert mounted(steps("native-root"))["/var/lib/docker"] == "/home/runs/0a1b2c/data/var/lib/docker"


def test_data_is_where_it_is_asked_for() -> None:
    request = Request(command=("true",), data=Path("/kept"), writable=("/srv/more",))
    for name in ("gvisor-overlay", "native-root"):
        found = mounted(steps(name, request))
        assert (found["/var/lib/rancher"], found["/srv/more"]) == ("/kept/var/lib/rancher", "/kept/srv/more")
        # It is the user's: nothing of it is in the journal.
        assert not [each for each in steps(name, request) if isinstance(each, MakeDirectory) and "/kept" in each.path]


def test_groups_that_the_software_makes_go_with_it() -> None:
    own = group_steps(facts("gvisor-overlay"), "mine", as_root=False)
    assert {each.controllers for each in own if isinstance(each, ClearControlGroups)} >= {"cpu", "memory", "pids"}
    shared = group_steps(facts("native-root"), "mine", as_root=True)
    (entering,) = [each for each in shared if isinstance(each, EnterControlGroups)]
    assert [each.path for each in shared if isinstance(each, MakeControlGroup)] == [
        f"{each.mount_point}/mine" for each in entering.hierarchies
    ]
    assert "none,name=systemd" in {each.controllers for each in entering.hierarchies}
    assert group_steps(facts("native-root"), "mine", as_root=False) == []


def test_settings_are_taken_back_whatever_the_software_made_of_them() -> None:
    assert all(each.always for each in steps("native-root") if isinstance(each, SetSysctl))


def test_calls_are_intercepted_where_a_file_is_missing() -> None:
    gvisor = choose(facts("gvisor-overlay"))
    assert rules_of(gvisor.facts) != []
    assert rules_of(facts("native-root")) == []
    assert rules_of(untraced(gvisor.facts)) == []
    assert any("refused" in each for each in shortcomings(choose(untraced(gvisor.facts))))
    assert shortcomings(gvisor) == []


def test_settings_are_files_for_the_tracer_where_no_mount_makes_them_writable() -> None:
    plan, user = steps("native-user"), choose(facts("native-user")).facts
    panic = "/home/runs/0a1b2c/proc-sys/kernel/panic"
    assert panic in {each.path for each in plan if isinstance(each, CreateFile)}
    assert panic in {each.target for each in rules_of(user) if isinstance(each, Redirect)}
    assert "/proc/sys" not in mounted(plan)
    assert emulates_control_groups(user)
    said = [each.partition(":")[0] for each in shortcomings(Grounds(isolation="sandbox", facts=untraced(user)))]
    assert said[:2] == ["no control groups", "a kubelet will end, because it cannot write the kernel's settings"]
    assert said[2].startswith("one user id")


@pytest.mark.parametrize("name", ["gvisor-docker-capabilities", "native-docker-capabilities", "gvisor-user"])
def test_a_user_namespace_takes_the_place_of_a_missing_privilege(name: str) -> None:
    """With a network of its own, and a relay."""
    grounds = choose(facts(name))
    assert (grounds.isolation, grounds.relayed) == ("user-namespace", True)
    assert "net/ipv4/ip_forward" not in {each.name for each in steps(name) if isinstance(each, SetSysctl)}
    assert any("network of its own" in each for each in shortcomings(grounds))


def test_where_no_other_network_has_ip_there_is_that_of_the_sandbox() -> None:
    grounds = choose(facts("gvisor-docker-capabilities-host-network"))
    assert (grounds.isolation, grounds.relayed) == ("user-namespace", False)
    assert any("no other one can be had" in each for each in shortcomings(grounds))


def test_one_user_has_covers_and_is_told_of_others() -> None:
    covered = [each.target for each in steps("gvisor-user") if isinstance(each, CoverDirectory)]
    assert "/var/lib" in covered
    inner = choose(facts("gvisor-user")).facts
    assert OneId() in rules_of(inner)
    assert OneId() not in rules_of(choose(facts("gvisor-docker-capabilities")).facts)


def test_without_any_namespace_there_is_no_environment() -> None:
    with pytest.raises(KinsError, match="unshare") as raised:
        choose(facts("native-user-without-namespaces"))
    assert raised.value.code == "run-unavailable"
    assert "user namespaces" in (raised.value.hint or "")


@pytest.mark.parametrize("path", ["data", "/", ""])
def test_a_directory_is_named_by_its_absolute_path(path: str) -> None:
    with pytest.raises(UsageError, match="absolute path"):
        Request(command=("true",), writable=(path,)).validate()


def test_messages_come_back_as_they_were_sent() -> None:
    for message in (Stopped(), Failed("it is full", "step-failed", None)):
        assert decode(encode(message).rstrip()) == message


def test_a_run_undoes_its_steps_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KINS_HOME", str(tmp_path / "home"))
    made = tmp_path / "made"
    with new_run() as files:
        files.journal.execute([CreateFile(path=str(made), because="a test")])
        assert made.exists()
        assert clear_remains() == 0, "it still runs"
    assert not made.exists()
    assert not home_directory.path().exists()


def test_what_a_killed_run_left_is_undone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KINS_HOME", str(tmp_path / "home"))
    made = tmp_path / "made"
    child = os.fork()
    if child == 0:
        with new_run() as files:
            files.journal.execute([CreateFile(path=str(made), because="a test")])
            os._exit(0)  # as a kill would: nothing is undone
    os.waitpid(child, 0)
    assert made.exists()
    assert clear_remains() == 1
    assert not made.exists()
    assert not home_directory.path().exists()
