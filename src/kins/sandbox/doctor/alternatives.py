"""What is one thing away: each fact flipped alone, and each set of lacks that one change of the sandbox would cure."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from kins.sandbox.facts import Answer, Facts
from kins.sandbox.levels import REQUIRED_V1, control_group_layout
from kins.sys.process import CAP_SYS_ADMIN

# What a decision is told by: word by word, so that two can be compared.
Outcome = Mapping[str, str]
FLIPPED = Answer(False, "flipped")
PRIVILEGE = "with CAP_SYS_ADMIN and CAP_NET_ADMIN (docker run --privileged)"


class Alternative(msgspec.Struct, frozen=True, kw_only=True):
    """If these facts were otherwise, then this would be. `change` says how in words; `level` is the level that would
    follow, `differences` what else would differ, by its name."""

    facts: tuple[str, ...]
    change: str
    level: str
    differences: dict[str, str] = {}


def flipped(facts: Facts, name: str) -> Facts | None:
    """The facts with one of them otherwise; None for a fact that is no matter of yes or no."""
    value = getattr(facts, name)
    other: Any
    if isinstance(value, Answer):
        other = FLIPPED if value.works else Answer(True)
    elif isinstance(value, bool):
        other = not value
    elif name == "programs":
        other = dict.fromkeys(value, not all(value.values()))
    elif name == "resolvers":
        other = {} if value else {"192.0.2.53": "answers"}
    elif name == "used_ranges" and value:
        other = ()
    elif name == "control_groups_v1" and value:
        other = {}
    elif name == "control_groups_v2" and value:
        other = None
    elif name == "control_groups_v1_mountable":
        other = () if value else REQUIRED_V1
    else:
        return None
    return msgspec.structs.replace(facts, **{name: other})


def alternatives(
    facts: Facts, hints: Iterable[tuple[str, str]], judge: Callable[[Facts], Outcome]
) -> list[Alternative]:
    """What differs from what is judged now; a judgement has the key `level`. `hints` are what would give the facts that
    are lacking, each with the fact."""
    now = judge(facts)
    single = [(name, flipped(facts, name)) for name in Facts.__struct_fields__]
    found = [_alternative((name,), _change(facts, name), now, judge(other)) for name, other in single if other]
    together = _by_hint(hints) | ({} if _is_privileged(facts) else {PRIVILEGE: refused(facts)})
    for hint, names in together.items():
        if len(names) > 1:
            found.append(_alternative(names, hint, now, judge(_cured(facts, names))))
    return [each for each in found if each.level != now["level"] or each.differences]


def _alternative(names: tuple[str, ...], change: str, now: Outcome, then: Outcome) -> Alternative:
    level = then["level"]
    differs = {} if level != now["level"] else {key: value for key, value in then.items() if value != now[key]}
    return Alternative(facts=names, change=change, level=level, differences=differs)


def _change(facts: Facts, name: str) -> str:
    value = getattr(facts, name)
    there = value.works if isinstance(value, Answer) else all(value.values()) if name == "programs" else bool(value)
    return f"without {name}" if there and name != "used_ranges" else f"with {name}"


def _is_privileged(facts: Facts) -> bool:
    return bool(facts.capabilities >> CAP_SYS_ADMIN & 1)


def refused(facts: Facts) -> tuple[str, ...]:
    """What the kernel refuses for want of privilege; control groups can be mounted by who may mount. Not what fails for
    another reason where there is privilege: in a user namespace, if one was asked."""
    names = [
        name
        for name in Facts.__struct_fields__
        if _is_denied(getattr(facts, name)) and not (facts.inside and _fails_otherwise(getattr(facts.inside, name)))
    ]
    groups = control_group_layout(facts) == "none" and not facts.control_groups_v1_mountable
    return (*names, *(["control_groups_v1_mountable"] if names and groups else []))


def _is_denied(value: object) -> bool:
    denied = (os.strerror(errno.EPERM), os.strerror(errno.EACCES))
    return isinstance(value, Answer) and any(word in value.cause for word in denied)


def _fails_otherwise(value: object) -> bool:
    return isinstance(value, Answer) and not value.works and not _is_denied(value)


def _by_hint(hints: Iterable[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    """Facts that one and the same change would give; those of control groups come with mounts."""
    found: dict[str, tuple[str, ...]] = {}
    for hint, fact in hints:
        name = "control_groups_v1_mountable" if fact == "control_groups" else fact
        found[hint] = tuple(dict.fromkeys((*found.get(hint, ()), name)))
    return found


def _cured(facts: Facts, names: Iterable[str]) -> Facts:
    for name in names:
        facts = flipped(facts, name) or facts
    return facts
