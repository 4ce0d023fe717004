"""devices of version 1 (cgroup-v1/devices.rst): lists are kept and read back as the kernel does, nothing is refused.

A group allows everything but some devices, or nothing but some. What it says is kept in two settings: `devices.default`
(`allow` or `deny`) and `devices.exceptions` (lines of `type major:minor access`). A new group has its parent's.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Callable

from kins.cgroupfs.control_groups import ControlGroups, Writer
from kins.cgroupfs.files.declaration import ControlFile
from kins.cgroupfs.model import Group, refusal

ENTRY = re.compile(r"(?P<device>[bc] (?:\d+|\*):(?:\d+|\*)) (?P<access>[rwm]{1,3})")
ALL = "a *:* rwm"
Exceptions = dict[str, str]


def rules(group: Group) -> tuple[str, Exceptions]:
    """Whether all is allowed or denied, and the access to devices that are exceptions."""
    if "devices.default" not in group.settings:
        return rules(group.parent) if group.parent is not None else ("allow", {})
    lines = filter(None, group.settings.get("devices.exceptions", "").split("\n"))
    return group.settings["devices.default"], dict(line.rsplit(" ", 1) for line in lines)


def read_list(groups: ControlGroups, group: Group) -> str:
    """What is allowed; exceptions of a group that allows all are not shown, as in the kernel."""
    default, exceptions = rules(group)
    if default == "allow":
        return f"{ALL}\n"
    return "".join(f"{device} {access}\n" for device, access in exceptions.items())


def change(allowing: str) -> Callable[[ControlGroups, Group, str, Writer], None]:
    """devices.allow or devices.deny."""

    def write(groups: ControlGroups, group: Group, text: str, writer: Writer) -> None:
        default, exceptions = rules(group)
        if text == "a" or text.startswith("a "):
            if group.children:
                raise refusal(errno.EINVAL, text)
            default, exceptions = allowing, {}
        else:
            entry = ENTRY.fullmatch(text)
            if entry is None:
                raise refusal(errno.EINVAL, text)
            if allowing == "allow" and group.parent is not None:
                check_parent_allows(group.parent, entry["device"], entry["access"])
            except_or_not(exceptions, entry["device"], entry["access"], adding=default != allowing)
        keep(groups, group, default, exceptions)

    return write


def check_parent_allows(parent: Group, device: str, access: str) -> None:
    """A group cannot allow what its parent does not. Raises OSError (EPERM)."""
    default, exceptions = rules(parent)
    if default == "allow":
        return
    if not any(covers(each, device) and set(access) <= set(allowed) for each, allowed in exceptions.items()):
        raise refusal(errno.EPERM, device)


def covers(pattern: str, device: str) -> bool:
    """Whether a device, or all devices of a pattern, are among those of another pattern."""
    parts = zip(re.split("[ :]", pattern), re.split("[ :]", device), strict=True)
    return all(mine in ("*", theirs) for mine, theirs in parts)


def except_or_not(exceptions: Exceptions, device: str, access: str, *, adding: bool) -> None:
    """Add access to an exception, or take it away; the order of the letters is the kernel's."""
    before = set(exceptions.get(device, ""))
    after = before | set(access) if adding else before - set(access)
    if after:
        exceptions[device] = "".join(letter for letter in "rwm" if letter in after)
    else:
        exceptions.pop(device, None)


def keep(groups: ControlGroups, group: Group, default: str, exceptions: Exceptions) -> None:
    """Store both parts."""
    groups.set(group, "devices.default", default)
    groups.set(group, "devices.exceptions", "\n".join(f"{device} {access}" for device, access in exceptions.items()))


FILES = (
    ControlFile("devices.allow", None, change("allow")),
    ControlFile("devices.deny", None, change("deny")),
    ControlFile("devices.list", read_list),
)
