"""The rules that stand in for a node's mounts, where mounting is not possible or not wanted."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from kins.intercept.rules import Redirect, Rule, StatfsOfType


class View(msgspec.Struct, frozen=True):
    """How traced processes shall see the sandbox: the rules, and the files that must be there for them (path to
    content)."""

    rules: tuple[Rule, ...]
    files: dict[str, str]


def node_view(
    settings: Mapping[str, str],
    tree: str,
    *,
    without_kernel_messages: bool = False,
    types: Mapping[int, int] | None = None,
) -> View:
    """Settings below /proc/sys with values of their own, /dev/kmsg where there is none, other file-system types.

    `settings` maps names like `kernel/panic` to values; their files go below the directory `tree`, where they absorb
    what is written. One rule per file, and not one for all of /proc/sys: a listing of `/proc/sys/kernel` stays the
    kernel's, and a file that somebody removes from the tree is the kernel's again.

    `types` maps types to the ones to tell instead. By type and not by path: below a path there may be other mounts,
    and the kubelet asks each volume whether it is a tmpfs (pkg/volume/emptydir).
    """
    files = {f"{tree}/{name}": f"{value}\n" for name, value in settings.items()}
    rules: list[Rule] = [Redirect(f"/proc/sys/{name}", f"{tree}/{name}", only_existing=True) for name in settings]
    if without_kernel_messages:
        rules.append(Redirect("/dev/kmsg", "/dev/null"))
    rules += [StatfsOfType(found, told) for found, told in (types or {}).items()]
    return View(tuple(rules), files)
