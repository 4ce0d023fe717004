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
