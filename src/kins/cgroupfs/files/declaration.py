"""What a file of a control group is, and the kinds of files that come often: numbers, sizes, switches."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

from kins.cgroupfs.control_groups import ControlGroups, Writer
from kins.cgroupfs.model import Group, refusal

Read = Callable[[ControlGroups, Group], str]
Write = Callable[[ControlGroups, Group, str, Writer], None]

PAGE = os.sysconf("SC_PAGE_SIZE")
# What version 1 says where there is no limit: as many whole pages as a long counts bytes of (mm/page_counter.c).
UNLIMITED = (2**63 - 1) // PAGE * PAGE
MAXIMUM_U64 = 2**64 - 1
# Version 2: which controllers a group passes on to those below it.
SUBTREE_CONTROL = "cgroup.subtree_control"
SUFFIXES = {"k": 10, "m": 20, "g": 30, "t": 40, "p": 50, "e": 60}


class Where(Enum):
    """In which groups a file is."""

    EVERYWHERE = auto()
    ROOT = auto()
    NOT_ROOT = auto()


@dataclass(frozen=True)
class ControlFile:
    """A file of a control group: what reading gives (with its newline) and what a write(2) does.

    Both raise OSError with the kernel's errno. `write` gets the text without white space around it. In version 2 a file
    of a `controller` is only where that is enabled.
    """

    name: str
    read: Read | None = None
    write: Write | None = None
    where: Where = Where.EVERYWHERE
    controller: str = ""

    @property
    def mode(self) -> int:
        """Permissions, which follow from what can be done (kernel/cgroup/cgroup.c, cgroup_file_mode)."""
        return (0o444 if self.read else 0) | (0o200 if self.write else 0)

    def is_in(self, group: Group) -> bool:
        """Whether a group has this file."""
        if self.controller and self.controller not in controllers_of(group):
            return False
        return self.where is Where.EVERYWHERE or group.is_root == (self.where is Where.ROOT)


def controllers_of(group: Group) -> tuple[str, ...]:
    """The controllers of a group: all of its hierarchy in the root, below it those that the parent passes on."""
    if group.parent is None:
        return group.hierarchy.controllers
    return tuple(group.parent.settings.get(SUBTREE_CONTROL, "").split())


def parse_number(text: str, minimum: int = 0, maximum: int = MAXIMUM_U64) -> int:
    """A number as kstrtoll(…, 0) reads it: decimal, 0x… or 0…. Raises OSError (EINVAL, ERANGE)."""
    digits = text.lstrip("+-")
    base = 16 if digits[:2].lower() == "0x" else 8 if digits.startswith("0") else 10
    try:
        number = int(text, base)
    except ValueError:
        raise refusal(errno.EINVAL, text) from None
    if not minimum <= number <= maximum:
        raise refusal(errno.EINVAL if abs(number) <= MAXIMUM_U64 else errno.ERANGE, text)
    return number


def parse_size(text: str, unlimited: str) -> int | None:
    """A size as page_counter_memparse() reads it, rounded down to whole pages; None for the word that means no limit.

    No text at all is 0.

    Raises OSError (EINVAL).
    """
    if text == unlimited:
        return None
    if not text:
        return 0
    shift = SUFFIXES.get(text[-1:].lower(), 0)
    number = parse_number(text[:-1] if shift else text)
    return min((number << shift) // PAGE * PAGE, UNLIMITED)


def setting(name: str, default: str, where: Where = Where.EVERYWHERE) -> ControlFile:
    """Text that is kept as it is."""
    return ControlFile(name, stored(name, default), store(name), where)


def stored(name: str, default: str) -> Read:
    """Reading gives what was written, or the default."""
    return lambda groups, group: f"{group.settings.get(name, default)}\n"


def store(name: str, check: Callable[[str], object] | None = None) -> Write:
    """Writing keeps the text if `check` does not raise, and its result if it gives one."""

    def write(groups: ControlGroups, group: Group, text: str, writer: Writer) -> None:
        checked = check(text) if check is not None else None
        groups.set(group, name, text if checked is None else str(checked))

    return write


def number(
    name: str, default: int, minimum: int, maximum: int, where: Where = Where.EVERYWHERE, outside: int = errno.EINVAL
) -> ControlFile:
    """A number within bounds; `outside` is the kernel's answer to others."""

    def check(text: str) -> int:
        value = parse_number(text, -MAXIMUM_U64, MAXIMUM_U64)
        if not minimum <= value <= maximum:
            raise refusal(outside, text)
        return value

    return ControlFile(name, stored(name, str(default)), store(name, check), where)


def switch(name: str, default: int = 0, where: Where = Where.EVERYWHERE) -> ControlFile:
    """0 or 1; any other number is 1, as in the kernel's `!!val`."""
    return ControlFile(name, stored(name, str(default)), store(name, lambda text: int(parse_number(text) != 0)), where)


def constant(name: str, text: str, where: Where = Where.EVERYWHERE) -> ControlFile:
    """A file that says the same always, and cannot be written."""
    return ControlFile(name, lambda groups, group: text, None, where)


def table(rows: dict[str, int]) -> str:
    """`name value` lines."""
    return "".join(f"{name} {value}\n" for name, value in rows.items())
