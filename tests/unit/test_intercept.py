"""Rules for intercepted system calls: as texts, as files, as the tracer's JSON, and every way to get one wrong."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kins.components.kubelet import SYSCTLS
from kins.errors import KinsError, UsageError
from kins.intercept import (
    Address,
    OneId,
    Own,
    Redirect,
    Rule,
    Source,
    StatfsOfMount,
    StatfsOfPath,
    StatfsOfType,
    Uname,
    check_support,
    command_line,
    convert,
    encode,
    hold_in_memory,
    node_rules,
    parse,
    read,
    tracer,
    validate,
)
from kins.intercept.filesystems import TYPES, type_number
from kins.intercept.texts import EXAMPLES, FILE_EXAMPLE, FORMS
from kins.sys import interception, mounts
from kins.sys.interception import Support

# Text, rule, and the JSON that the tracer is defined to read.
RULES: list[tuple[str, Rule, dict[str, Any]]] = [
    (
        "redirect:/proc/sys/kernel/panic=/prepared/kernel/panic",
        Redirect("/proc/sys/kernel/panic", "/prepared/kernel/panic"),
        {"redirect": {"from": "/proc/sys/kernel/panic", "to": "/prepared/kernel/panic"}},
    ),
    (
        "overlay:/proc/sys=/prepared",
        Redirect("/proc/sys", "/prepared", only_existing=True),
        {"redirect": {"from": "/proc/sys", "to": "/prepared", "only_existing": True}},
    ),
    (
        "redirect:/proc/*/cgroup=/sys/fs/cgroup/.kins/processes/*/cgroup",
        Redirect("/proc/*/cgroup", "/sys/fs/cgroup/.kins/processes/*/cgroup"),
        {"redirect": {"from": "/proc/*/cgroup", "to": "/sys/fs/cgroup/.kins/processes/*/cgroup"}},
    ),
    (
        "statfs:/sys/fs/cgroup/cpu=cgroup",
        StatfsOfPath("/sys/fs/cgroup/cpu", 0x27E0EB),
        {"statfs": {"path": "/sys/fs/cgroup/cpu", "type": 2613483}},
    ),
    ("statfs:mount:/=ext4", StatfsOfMount("/", 0xEF53), {"statfs": {"mount": "/", "type": 61267}}),
    (
        "statfs:type:9p=ext4",
        StatfsOfType(0x01021997, 0xEF53),
        {"statfs": {"from_type": 16914839, "type": 61267}},
    ),
    ("statfs:type:0x6969=26985", StatfsOfType(0x6969, 26985), {"statfs": {"from_type": 26985, "type": 26985}}),
    ("uname:6.1.0", Uname("6.1.0"), {"uname": {"release": "6.1.0"}}),
    ("uname:6.1.0-kins:x=y", Uname("6.1.0-kins:x=y"), {"uname": {"release": "6.1.0-kins:x=y"}}),
    ("redirect:/a b/ü=/c:d", Redirect("/a b/ü", "/c:d"), {"redirect": {"from": "/a b/ü", "to": "/c:d"}}),
    ("redirect:/=/tree", Redirect("/", "/tree"), {"redirect": {"from": "/", "to": "/tree"}}),
    (
        "address:10.42.0.0/16=127.42.0.0/16",
        Address("10.42.0.0/16", "127.42.0.0/16"),
        {"address": {"from": "10.42.0.0/16", "to": "127.42.0.0/16"}},
    ),
    ("own:127.42.0.5", Own("127.42.0.5"), {"own": {"address": "127.42.0.5"}}),
    ("source:127.42.0.1", Source("127.42.0.1"), {"source": {"address": "127.42.0.1"}}),
    ("one-id", OneId(), {"one_id": {}}),
]
TEXTS = [text for text, _, _ in RULES]


@pytest.mark.parametrize(("text", "rule", "described"), RULES, ids=TEXTS)
def test_a_text_becomes_a_rule_and_the_tracers_json(text: str, rule: Rule, described: dict[str, Any]) -> None:
    assert parse(text) == rule
    assert json.loads(encode([rule])) == {"version": 1, "rules": [described]}


def test_the_order_is_the_authors(tmp_path: Path) -> None:
    rules = [rule for _, rule, _ in RULES]
    for ordered in (rules, rules[::-1]):
        (tmp_path / "rules").write_bytes(encode(ordered))
        assert list(read(tmp_path / "rules")) == ordered


@pytest.mark.parametrize("kind", FORMS)
def test_the_example_of_every_form_is_a_rule(kind: str) -> None:
    assert parse(EXAMPLES[kind])


@pytest.mark.parametrize(
    ("name", "number"), [("ext3", 0xEF53), ("overlayfs", 0x794C7630), ("0xEF53", 0xEF53), ("7", 7)]
)
def test_types_have_names_aliases_and_numbers(name: str, number: int) -> None:
    assert type_number(name) == number


def test_types_are_those_of_the_kernel() -> None:
    """Of what is mounted here, the kernel says the same; what others mount at the same place may hide it."""
    found = {entry.target: entry.kind for entry in mounts.mount_table() if Path(entry.target).is_dir()}
    known = {place: kind for place, kind in found.items() if type_number(kind) is not None}
    assert "/proc" in known
    for place, kind in known.items():
        assert mounts.filesystem_type(place) == type_number(kind), (place, kind)


def test_no_number_has_two_names() -> None:
    assert len(set(TYPES.values())) == len(TYPES)
    assert type_number("nosuch") is None


# What is wrong

WRONG: list[tuple[str, str]] = [
    ("", "begins with none of redirect:, overlay:, statfs:, uname:, address:, own:, source: and is not one-id"),
    ("redirect", "begins with none of"),
    ("rename:/a=/b", "begins with none of"),
    ("one-id:", "begins with none of"),
    ("one-id:101", "begins with none of"),
    ("redirect:/a", "has the form redirect:FROM=TO, with one ="),
    ("redirect:/a=", "has the form redirect:FROM=TO, with one ="),
    ("redirect:=/b", "has the form redirect:FROM=TO, with one ="),
    ("redirect:/a=/b=/c", "has the form redirect:FROM=TO, with one ="),
    ("overlay:/a", "has the form overlay:FROM=TO"),
    ("redirect:a=/b", "'a' is no absolute path"),
    ("redirect:/a=b", "'b' is no absolute path"),
    ("redirect:/a/=/b", "write /a"),
    ("redirect:/a//b=/c", "write /a/b"),
    ("redirect://a=/c", "write /a"),
    ("redirect:/a/./b=/c", "write /a/b"),
    ("redirect:/a/../b=/c", "write /b"),
    ("redirect:/a=/..", "write /"),
    ("redirect:/a\0=/b", "zero byte"),
    ("redirect:/a=/a", "would lead to itself"),
    ("redirect:/proc/*/task/*=/b", "at most one component *"),
    ("redirect:/proc/*=/b/*/*", "at most one component *"),
    ("redirect:/proc/self=/b/*", "can be in the second"),
    (f"redirect:/{'ü' * 2048}=/b", "more than 4095 bytes"),
    ("statfs:/a", "has the form statfs:PATH=TYPE"),
    ("statfs:/a=", "has the form statfs:PATH=TYPE"),
    ("statfs:a=ext4", "'a' is no absolute path"),
    ("statfs:/proc/*=ext4", "redirections only"),
    ("statfs:mount:a=ext4", "'a' is no absolute path"),
    ("statfs:mount:/a/=ext4", "write /a"),
    ("statfs:/a=nosuch", "no file system 'nosuch'"),
    ("statfs:/a=0", "0 is no type"),
    ("statfs:/a=-1", "-1 is no type"),
    ("statfs:/a=0x100000000", "4294967296 is no type"),
    ("statfs:type:nosuch=ext4", "no file system 'nosuch'"),
    ("statfs:type:0=ext4", "0 is no type"),
    ("uname:", "'' is no release"),
    ("uname:a\nb", "is no release"),
    (f"uname:{'x' * 65}", "is no release"),
    (f"uname:{'ü' * 33}", "is no release"),
    ("address:10.42.0.0/16", "has the form address:RANGE=RANGE"),
    ("address:10.42.0.1/16=127.42.0.0/16", "'10.42.0.1/16' is no range"),
    ("address:10.42.0.0/16=127.0.0.0/8", "are not of the same size"),
    ("address:10.42.0.0/16=10.42.0.0/16", "would lead to itself"),
    ("address:fd00::/64=fd01::/64", "'fd00::/64' is no range"),
    ("own:localhost", "'localhost' is no IPv4 address"),
    ("own:0.0.0.0", "'0.0.0.0' is no IPv4 address"),
    ("source:::1", "'::1' is no IPv4 address"),
]


@pytest.mark.parametrize(("text", "said"), WRONG, ids=[ascii(text)[:50] for text, _ in WRONG])
def test_what_is_wrong_with_a_text_is_said(text: str, said: str) -> None:
    with pytest.raises(UsageError) as raised:
        parse(text)
    error = raised.value
    assert error.code == "invalid-rule"
    assert error.message.startswith(f"invalid rule {text!r}: ")
    assert error.hint
    assert said in f"{error.message} {error.hint}"
    assert "\n" not in f"{error.message}{error.hint}"


def test_rules_of_programs_are_held_to_the_same() -> None:
    for rule in (Redirect("a", "/b"), StatfsOfMount("/", 0), Uname("")):
        for check in (validate, lambda rule: encode([rule])):
            with pytest.raises(UsageError) as raised:
                check(rule)
            assert raised.value.code == "invalid-rule"
            assert rule.kind in raised.value.message


def test_a_release_of_full_length_is_one() -> None:
    assert parse(f"uname:{'x' * 64}") == Uname("x" * 64)


# Files

FILE = """
# YAML, with names for types
version: 1
rules:
- redirect: {from: /proc/sys, to: /prepared, only_existing: true}
- redirect:
    from: /a=b
    to: /c
- statfs: {path: /var/lib, type: ext4}
- statfs: {mount: /, type: 0xEF53}
- statfs: {from_type: 9p, type: 61267}
- uname: {release: "6.10"}
- one_id: {}
"""
IN_FILE = (
    Redirect("/proc/sys", "/prepared", only_existing=True),
    Redirect("/a=b", "/c"),
    StatfsOfPath("/var/lib", 0xEF53),
    StatfsOfMount("/", 0xEF53),
    StatfsOfType(0x01021997, 0xEF53),
    Uname("6.10"),
    OneId(),
)


def test_a_file_of_rules(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(FILE)
    assert read(tmp_path / "rules.yaml") == IN_FILE
    (tmp_path / "rules.json").write_bytes(encode(IN_FILE))
    assert read(tmp_path / "rules.json") == IN_FILE


def test_the_example_of_a_file_is_one(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(FILE_EXAMPLE)
    assert read(tmp_path / "rules.yaml") == (Redirect("/etc/hostname", "/tmp/hostname"),)


BROKEN_FILES = [
    ("", "it has no list of rules"),
    ("rules:", "it has no list of rules"),
    ("- uname: {release: '6'}", "it has no list of rules"),
    ("rules: [", "while parsing"),
    ("\x01", "unacceptable character"),
    ("version: 2\nrules: []", "its version is 2; known is 1"),
    ("rules: []\nmore: 1", "unknown: more"),
]


@pytest.mark.parametrize(("content", "said"), BROKEN_FILES)
def test_what_is_wrong_with_a_file_is_said(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "rules.yaml").write_text(content)
    with pytest.raises(UsageError) as raised:
        read(tmp_path / "rules.yaml")
    assert raised.value.code == "invalid-rules-file"
    assert str(tmp_path / "rules.yaml") in raised.value.message
    assert said in raised.value.message
    assert raised.value.hint


@pytest.mark.parametrize("name", ["nosuch.yaml", "."])
def test_a_file_that_cannot_be_read(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError) as raised:
        read(tmp_path / name)
    assert raised.value.code == "invalid-rules-file"
    assert raised.value.hint == f"ls -l {tmp_path / name}"


WRONG_IN_FILES = [
    ("redirect", "not one of redirect, statfs, uname, address, own and source"),
    ("rename: {from: /a, to: /b}", "not one of redirect, statfs, uname, address, own and source"),
    (
        "{redirect: {from: /a, to: /b}, uname: {release: x}}",
        "not one of redirect, statfs, uname, address, own and source",
    ),
    ("redirect: /a", "not one of redirect, statfs, uname, address, own and source"),
    ("one_id:", "or one_id: {}"),
    ("one_id: {uid: 101}", "unknown field `uid`"),
    ("redirect: {from: /a}", "missing required field `to`"),
    ("redirect: {from: /a, to: /b, onlyexisting: true}", "unknown field `onlyexisting`"),
    ("redirect: {from: /a, to: /b, only_existing: maybe}", "Expected `bool`"),
    ("redirect: {from: a, to: /b}", "no absolute path"),
    ("uname: {release: 6.1}", "quote what is text"),
    ("statfs: {type: ext4}", "one of path, mount, from_type"),
    ("statfs: {path: /, mount: /, type: ext4}", "one of path, mount, from_type"),
    ("statfs: {path: /}", "missing required field `type`"),
    ("statfs: {path: /, type: nosuch}", "no file system 'nosuch'"),
    ("statfs: {path: /, type: [1]}", "Expected `int`"),
    ("statfs: {from_type: 9p, type: 0}", "0 is no type"),
]


@pytest.mark.parametrize(("rule", "said"), WRONG_IN_FILES)
def test_what_is_wrong_with_a_rule_of_a_file_is_said(tmp_path: Path, rule: str, said: str) -> None:
    (tmp_path / "rules.yaml").write_text(f"rules:\n- uname: {{release: fine}}\n- {rule}\n")
    with pytest.raises(UsageError) as raised:
        read(tmp_path / "rules.yaml")
    assert raised.value.code == "invalid-rule"
    assert raised.value.message.startswith(f"invalid rule 2 of {tmp_path / 'rules.yaml'}: ")
    assert said in f"{raised.value.message} {raised.value.hint}"


# The tracer's command line


def test_the_command_line_is_the_tracers() -> None:
    program = Path("/bin/kins-intercept")
    assert command_line(["cat", "--", "-n"], "/dev/fd/3", program=program) == [
        *("/bin/kins-intercept", "--backend", "auto", "--rules", "/dev/fd/3", "--", "cat", "--", "-n")
    ]
    assert command_line(["cat"], "/r", backend="notify", statistics="s.json", program=program) == [
        *("/bin/kins-intercept", "--backend", "notify", "--rules", "/r", "--statistics", "s.json", "--", "cat")
    ]


def test_rules_in_memory_are_inherited_and_leave_nothing() -> None:
    descriptor = hold_in_memory(b"the rules")
    try:
        path = f"/proc/self/fd/{descriptor}"
        done = subprocess.run(["cat", path, path], pass_fds=[descriptor], capture_output=True, check=True)
        assert done.stdout == b"the rules" * 2
        assert os.get_inheritable(descriptor)
        # A file of no directory: nothing to remove.
        assert os.fstat(descriptor).st_nlink == 0
    finally:
        os.close(descriptor)


# What the kernel offers

ALL = Support(architecture=True, ptrace=True, seccomp_trace=True, notify=True, notify_add_descriptor=True)
GVISOR = Support(
    architecture=True,
    ptrace=True,
    seccomp_trace=True,
    order="seccomp-first",
    notify=False,
    notify_add_descriptor=False,
    causes={"notify": "seccomp: invalid argument", "notify_add_descriptor": "there are no notifications"},
)
NOTHING = Support(
    architecture=True,
    ptrace=False,
    seccomp_trace=False,
    notify=False,
    notify_add_descriptor=False,
    causes={"ptrace": "seize: operation not permitted", "notify": "seccomp: operation not permitted"},
)
ELSEWHERE = Support(
    architecture=False,
    ptrace=False,
    seccomp_trace=False,
    notify=False,
    notify_add_descriptor=False,
    causes={"architecture": "arm64: only amd64"},
)


@pytest.mark.parametrize(
    ("found", "backend", "cause"),
    [
        (ALL, "auto", ""),
        (ALL, "ptrace", ""),
        (ALL, "notify", ""),
        (GVISOR, "auto", ""),
        (GVISOR, "ptrace", ""),
        (GVISOR, "notify", "notify: seccomp: invalid argument"),
        (NOTHING, "auto", "ptrace: seize: operation not permitted; notify: seccomp: operation not permitted"),
        (NOTHING, "ptrace", "ptrace: seize: operation not permitted"),
        (ELSEWHERE, "auto", "architecture: arm64: only amd64"),
    ],
)
def test_why_calls_cannot_be_intercepted(found: Support, backend: interception.Backend, cause: str) -> None:
    assert interception.refusal(found, backend) == cause


def program(place: Path, script: str) -> Path:
    """A program that answers instead of the tracer, for answers that this kernel does not give."""
    path = place / "kins-intercept"
    path.write_text(f"#!{sys.executable}\n{script}\n")
    path.chmod(0o755)
    return path


def test_an_answer_that_is_none_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse = "import sys; sys.stderr.write('only amd64\\n'); sys.exit(2)"
    with pytest.raises(OSError, match="exit 2: only amd64"):
        interception.support(program(tmp_path, refuse))
    with pytest.raises(OSError, match="malformed"):
        interception.support(program(tmp_path, "print('hello')"))
    monkeypatch.setattr(interception, "ANSWER_SECONDS", 0.2)
    with pytest.raises(OSError, match=r"no answer within 0\.2 s"):
        interception.support(program(tmp_path, "import time; time.sleep(1000)"))
    with pytest.raises(FileNotFoundError):
        interception.support(tmp_path / "nosuch")


@pytest.mark.parametrize(
    ("found", "backend", "hint"),
    [(NOTHING, "auto", r".* probe"), (GVISOR, "notify", "kins intercept --backend ptrace")],
)
def test_a_refusal_has_the_kernels_word_and_a_next_step(
    monkeypatch: pytest.MonkeyPatch, found: Support, backend: interception.Backend, hint: str
) -> None:
    monkeypatch.setattr(interception, "support", lambda: found)
    with pytest.raises(KinsError, match=re.escape(interception.refusal(found, backend))) as raised:
        check_support(backend)
    assert raised.value.code == "interception-unavailable"
    assert re.fullmatch(hint, str(raised.value.hint))


def test_without_the_program_it_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    absent = tmp_path / "kins-intercept"
    monkeypatch.setattr(interception, "support", lambda: Path(absent).read_bytes())
    monkeypatch.setattr(tracer, "PROGRAM", absent)
    with pytest.raises(KinsError, match=str(absent)) as raised:
        check_support()
    assert raised.value.code == "not-built"


# The node's rules


def test_the_nodes_rules_stand_in_for_its_mounts() -> None:
    rules = node_rules(SYSCTLS, "/prepared", without_kernel_messages=True, types={mounts.GOFER_9P: mounts.EXT4})
    for rule, name in zip(rules, SYSCTLS, strict=False):
        assert rule == Redirect(f"/proc/sys/{name}", f"/prepared/{name}", only_existing=True)
    assert rules[len(SYSCTLS) :] == (
        Redirect("/dev/kmsg", "/dev/null"),
        StatfsOfType(mounts.GOFER_9P, mounts.EXT4),
    )
    assert encode(rules)


def test_nothing_asked_is_no_rule() -> None:
    assert node_rules((), "/prepared") == ()


def test_a_rule_as_plain_data() -> None:
    assert convert({"statfs": {"path": "/sys", "type": "tmpfs"}}) == StatfsOfPath("/sys", mounts.TMPFS)
    with pytest.raises(ValueError, match="statfs has one of"):
        convert({"statfs": {"type": "tmpfs"}})
