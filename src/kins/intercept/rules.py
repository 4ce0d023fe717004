"""The kinds of rules as plain data, and their JSON, which `kins-intercept` reads.

Paths are absolute and clean. The first rule that matches a call decides.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Sequence
from typing import ClassVar

import msgspec

from kins.errors import UsageError

VERSION = 1
# Stands for one component; in /proc for a process, `self` and `thread-self` included.
ANY = "*"
# PATH_MAX holds a zero byte too.
LONGEST_PATH = 4095
# uname(2): struct utsname holds 64 bytes and a zero.
LONGEST_RELEASE = 64
LARGEST_TYPE = 0xFFFFFFFF


class _Rule(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """What all kinds have in common. `kind` is the key that a rule stands under in JSON."""

    kind: ClassVar[str]


class Redirect(_Rule, frozen=True):
    """Another path for this one and for everything below it; `only_existing` leaves what is not at the target alone."""

    kind: ClassVar[str] = "redirect"
    source: str = msgspec.field(name="from")
    target: str = msgspec.field(name="to")
    only_existing: bool = False


class StatfsOfPath(_Rule, frozen=True):
    """The file system's type at a path and below it."""

    kind: ClassVar[str] = "statfs"
    path: str
    type: int


class StatfsOfMount(_Rule, frozen=True):
    """The type of the file system that is mounted there, wherever a call meets it."""

    kind: ClassVar[str] = "statfs"
    mount: str
    type: int


class StatfsOfType(_Rule, frozen=True):
    """Another type for all file systems of a type."""

    kind: ClassVar[str] = "statfs"
    from_type: int
    type: int


class Uname(_Rule, frozen=True):
    """The kernel's release."""

    kind: ClassVar[str] = "uname"
    release: str


class Address(_Rule, frozen=True):
    """A range of IPv4 addresses (CIDR) that leads to the same places of another one, as large."""

    kind: ClassVar[str] = "address"
    source: str = msgspec.field(name="from")
    target: str = msgspec.field(name="to")


class Own(_Rule, frozen=True):
    """The IPv4 address that stands for the wildcard address and for localhost, and that connections come from."""

    kind: ClassVar[str] = "own"
    address: str


class Source(_Rule, frozen=True):
    """The IPv4 address that connections to addresses of other rules come from."""

    kind: ClassVar[str] = "source"
    address: str


class OneId(_Rule, frozen=True):
    """Other users and groups, where a user namespace has none: what changes ids is told that it has done so."""

    kind: ClassVar[str] = "one_id"


Rule = Redirect | StatfsOfPath | StatfsOfMount | StatfsOfType | Uname | Address | Own | Source | OneId


class Fault(ValueError):
    """What is wrong with a rule, and what to write instead. Who knows where the rule stands makes a UsageError of
    it."""

    def __init__(self, reason: str, hint: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint

    def of(self, thing: str) -> UsageError:
        """The error about a thing that the user wrote."""
        return UsageError(f"invalid rule {thing}: {self.reason}", code="invalid-rule", hint=self.hint)


def encode(rules: Sequence[Rule]) -> bytes:
    """The tracer's rules file. Raises UsageError `invalid-rule`."""
    for rule in rules:
        validate(rule)
    return msgspec.json.encode({"version": VERSION, "rules": [{rule.kind: rule} for rule in rules]})


def validate(rule: Rule) -> None:
    """Raises UsageError `invalid-rule` naming the first thing that is wrong with a rule."""
    try:
        find_fault(rule)
    except Fault as fault:
        raise fault.of(msgspec.json.encode({rule.kind: rule}).decode()) from fault


def find_fault(rule: Rule) -> None:
    """Raises Fault for the first thing that is wrong with a rule."""
    match rule:
        case Redirect():
            _redirect(rule)
        case Uname():
            _release(rule.release)
        case StatfsOfPath():
            _path(rule.path)
            _type(rule.type)
        case StatfsOfMount():
            _path(rule.mount)
            _type(rule.type)
        case StatfsOfType():
            _type(rule.from_type)
            _type(rule.type)
        case Address():
            _ranges(rule)
        case Own() | Source():
            _address(rule.address)


def _redirect(rule: Redirect) -> None:
    source, target = (_path(path, wildcard=True).count(ANY) for path in (rule.source, rule.target))
    if source > 1 or target > 1:
        raise Fault(f"a path has at most one component {ANY}", "write them like /proc/*/cgroup and /prepared/*/cgroup")
    if target > source:
        raise Fault(
            f"only what {ANY} stands for in the first path can be in the second",
            "write them like /proc/*/cgroup and /prepared/*",
        )
    if rule.source == rule.target:
        raise Fault(f"{rule.source} would lead to itself", "take another path to lead to")


def _path(path: str, *, wildcard: bool = False) -> list[str]:
    """The components of a path that is absolute and clean."""
    if "\0" in path:
        raise Fault(f"{path!r} has a zero byte, which no path can have", "take it out")
    if not path.startswith("/"):
        raise Fault(f"{path!r} is no absolute path", f"write {os.path.abspath(path)}")
    # Two slashes at the beginning stay two in normpath, as POSIX wants it; Linux takes them for one.
    clean = os.path.normpath(path).replace("//", "/")
    if path != clean:
        raise Fault(f"{path!r} has empty components, . or .. in it, or / at its end", f"write {clean}")
    components = path.split("/")[1:]
    if ANY in components and not wildcard:
        raise Fault(f"{path!r}: {ANY} is for redirections only", "name the path itself")
    if len(os.fsencode(path)) > LONGEST_PATH:
        raise Fault(f"{path[:40]!r}… has more than {LONGEST_PATH} bytes", "take a shorter path")
    return components


def _type(number: int) -> None:
    if not 0 < number <= LARGEST_TYPE:
        raise Fault(f"{number} is no type of a file system: it has 32 bits and is not 0", "write ext4 or 0xef53")


def _release(release: str) -> None:
    if not release or not release.isprintable() or len(release.encode()) > LONGEST_RELEASE:
        reason = f"{release!r} is no release: it has 1 to {LONGEST_RELEASE} bytes that can be printed"
        raise Fault(reason, "write it like 6.1.0")


def _ranges(rule: Address) -> None:
    source, target = (_range(text) for text in (rule.source, rule.target))
    if source.prefixlen != target.prefixlen:
        reason = f"{source} and {target} are not of the same size"
        raise Fault(reason, f"write both with /{source.prefixlen}")
    if source == target:
        raise Fault(f"{source} would lead to itself", "take another range to lead to")


def _range(text: str) -> ipaddress.IPv4Network:
    try:
        return ipaddress.IPv4Network(text)
    except ValueError as error:
        raise Fault(f"{text!r} is no range of IPv4 addresses: {error}", "write it like 10.42.0.0/16") from error


def _address(text: str) -> None:
    try:
        if not ipaddress.IPv4Address(text).is_unspecified:
            return
    except ValueError:
        pass
    raise Fault(f"{text!r} is no IPv4 address of one's own", "write it like 127.42.0.5")
