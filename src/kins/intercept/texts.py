"""Rules as people write them: one text each on the command line, or a YAML or JSON file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from kins.errors import UsageError
from kins.intercept.filesystems import TYPES, type_number
from kins.intercept.rules import (
    VERSION,
    Address,
    Fault,
    OneId,
    Own,
    Redirect,
    Rule,
    Source,
    StatfsOfMount,
    StatfsOfPath,
    StatfsOfType,
    Uname,
    find_fault,
)

# What stands before the first colon of a text, with the rest's form.
FORMS = {
    "redirect": "redirect:FROM=TO",
    "overlay": "overlay:FROM=TO",
    "statfs": "statfs:PATH=TYPE, statfs:mount:PATH=TYPE or statfs:type:TYPE=TYPE",
    "uname": "uname:RELEASE",
    "address": "address:RANGE=RANGE",
    "own": "own:ADDRESS",
    "source": "source:ADDRESS",
}
# Whole texts.
WORDS: dict[str, Rule] = {"one-id": OneId()}
EXAMPLES = {
    "redirect": "redirect:/etc/hostname=/tmp/hostname",
    "overlay": "overlay:/proc/sys=/tmp/prepared",
    "statfs": "statfs:/var/lib=ext4",
    "uname": "uname:6.1.0",
    "address": "address:10.42.0.0/16=127.42.0.0/16",
    "own": "own:127.42.0.5",
    "source": "source:127.42.0.1",
}
# What stands in a file with the keys of one class.
KINDS: dict[str, type[Rule]] = {kind.kind: kind for kind in (Redirect, Uname, Address, Own, Source, OneId)}
STATFS_KEYS: dict[str, type[StatfsOfPath | StatfsOfMount | StatfsOfType]] = {
    "path": StatfsOfPath,
    "mount": StatfsOfMount,
    "from_type": StatfsOfType,
}
FILE_EXAMPLE = "rules: [{redirect: {from: /etc/hostname, to: /tmp/hostname}}]"


def parse(text: str) -> Rule:
    """A rule from its text (see FORMS and WORDS). Raises UsageError `invalid-rule`."""
    if text in WORDS:
        return WORDS[text]
    kind, colon, rest = text.partition(":")
    try:
        if not colon or kind not in FORMS:
            beginnings = ", ".join(f"{name}:" for name in FORMS)
            raise _misformed(f"it begins with none of {beginnings} and is not {', '.join(WORDS)}", "redirect")
        rule = _PARSERS[kind](rest)
        find_fault(rule)
    except Fault as fault:
        raise fault.of(repr(text)) from fault
    return rule


def _parse_redirect(text: str) -> Rule:
    return Redirect(*_pair(text, "redirect"))


def _parse_overlay(text: str) -> Rule:
    return Redirect(*_pair(text, "overlay"), only_existing=True)


def _parse_statfs(text: str) -> Rule:
    subject, given = _pair(text, "statfs")
    number = _number(given)
    if subject.startswith("mount:"):
        return StatfsOfMount(subject.removeprefix("mount:"), number)
    if subject.startswith("type:"):
        return StatfsOfType(_number(subject.removeprefix("type:")), number)
    return StatfsOfPath(subject, number)


def _parse_address(text: str) -> Rule:
    return Address(*_pair(text, "address"))


_PARSERS: dict[str, Callable[[str], Rule]] = {
    "redirect": _parse_redirect,
    "overlay": _parse_overlay,
    "statfs": _parse_statfs,
    "uname": Uname,
    "address": _parse_address,
    "own": Own,
    "source": Source,
}


def _pair(text: str, kind: str) -> tuple[str, str]:
    """What stands before and after the equals sign; paths with one of their own can be written in a file."""
    left, _, right = text.partition("=")
    if not left or not right or "=" in right:
        raise _misformed(f"it has the form {FORMS[kind]}, with one =", kind)
    return left, right


def _misformed(reason: str, kind: str) -> Fault:
    return Fault(reason, f"--rule {EXAMPLES[kind]}")


def _number(text: str) -> int:
    number = type_number(text)
    if number is None:
        raise Fault(f"there is no file system {text!r}", f"write a number, or one of {', '.join(TYPES)}")
    return number


def read(path: Path) -> tuple[Rule, ...]:
    """The rules of a YAML or JSON file of the tracer's own form, with names for types. Raises UsageError."""
    import yaml

    try:
        document = yaml.safe_load(path.read_bytes())
    except OSError as error:
        raise _broken(path, error.strerror or str(error), f"ls -l {path}") from error
    except yaml.YAMLError as error:
        raise _broken(path, " ".join(str(error).split()), FILE_EXAMPLE) from error
    if not isinstance(document, dict) or not isinstance(document.get("rules"), list):
        raise _broken(path, "it has no list of rules", FILE_EXAMPLE)
    if document.get("version", VERSION) != VERSION:
        raise _broken(path, f"its version is {document['version']!r}; known is {VERSION}", f"version: {VERSION}")
    if unknown := sorted(map(str, document.keys() - {"version", "rules"})):
        raise _broken(path, f"unknown: {', '.join(unknown)}", FILE_EXAMPLE)
    return tuple(_rule_in_file(path, number, each) for number, each in enumerate(document["rules"], 1))


def _broken(path: Path, reason: str, hint: str) -> UsageError:
    return UsageError(f"cannot take rules from {path}: {reason}", code="invalid-rules-file", hint=hint)


def _rule_in_file(path: Path, number: int, described: Any) -> Rule:
    try:
        rule = convert(described)
        find_fault(rule)
    except Fault as fault:
        raise fault.of(f"{number} of {path}") from fault
    return rule


def convert(described: Any) -> Rule:
    """A rule from plain data of the tracer's own form, with names or numbers for types. Raises Fault."""
    match described:
        case {"statfs": dict() as content, **rest} if not rest:
            return _statfs(content)
        case dict() if len(described) == 1:
            [(name, content)] = described.items()
            if name in KINDS and isinstance(content, dict):
                return _convert(content, KINDS[name])
    kinds = "redirect, statfs, uname, address, own and source with keys below it, or one_id: {}"
    raise Fault(f"it is not one of {kinds}", FILE_EXAMPLE)


def _statfs(content: dict[Any, Any]) -> Rule:
    chosen = [key for key in STATFS_KEYS if key in content]
    if len(chosen) != 1:
        raise Fault(f"statfs has one of {', '.join(STATFS_KEYS)}", "statfs: {path: /var/lib, type: ext4}")
    names = {"type", "from_type"}
    numbered = {
        key: _number(value) if key in names and isinstance(value, str) else value for key, value in content.items()
    }
    return _convert(numbered, STATFS_KEYS[chosen[0]])


def _convert(content: dict[Any, Any], kind: type[Rule]) -> Rule:
    try:
        return msgspec.convert(content, kind)
    except msgspec.ValidationError as error:
        # A release like 6.1 is a number in YAML.
        raise Fault(
            f"{kind.kind}: {error}", "quote what is text but looks like a number; see kins intercept --help"
        ) from error
