"""How the difference of two moments reads."""

from __future__ import annotations

from tests.harness.snapshot import Snapshot

BEFORE = Snapshot({"mounts": ["/ ext4", "/proc proc"], "files": ["/etc/hosts 10 bytes", "/root/old"]})
AFTER = Snapshot({"mounts": ["/ ext4", "/proc proc", "/proc proc"], "files": ["/etc/hosts 12 bytes", "/etc/new"]})


def test_the_same_has_no_difference() -> None:
    assert BEFORE.difference(BEFORE) == ""


def test_both_forms_of_a_thing_stand_together_and_repetition_counts() -> None:
    assert BEFORE.difference(AFTER).splitlines() == [
        "+ mounts: /proc proc",
        "- files: /etc/hosts 10 bytes",
        "+ files: /etc/hosts 12 bytes",
        "+ files: /etc/new",
        "- files: /root/old",
    ]


def test_what_may_differ_is_left_out() -> None:
    assert BEFORE.difference(AFTER, ["mounts: *", "files: /etc/*"]) == "- files: /root/old\n"


def test_what_is_below_a_new_directory_is_counted() -> None:
    before = Snapshot({"files": ["/etc d", "/old d", "/old/a f"]})
    after = Snapshot({"files": ["/etc D", "/etc/a f", "/new d", "/new-a f", "/new/b d", "/new/b/c f"]})
    assert before.difference(after).splitlines() == [
        "- files: /etc d",
        "+ files: /etc D",
        "+ files: /etc/a f",
        "+ files: /new d (and 2 below)",
        "+ files: /new-a f",
        "- files: /old d (and 1 below)",
    ]


def test_a_repeated_line_stays_repeated() -> None:
    before, after = Snapshot({"mounts": ["/ ext4"]}), Snapshot({"mounts": ["/ ext4", "/a tmpfs", "/a tmpfs", "/a/b x"]})
    assert before.difference(after).splitlines() == ["+ mounts: /a tmpfs"] * 2 + ["+ mounts: /a/b x"]
