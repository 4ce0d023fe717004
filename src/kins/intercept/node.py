"""The rules that stand in for a node's mounts, where mounting is not possible or not wanted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from kins.intercept.rules import Redirect, Rule, StatfsOfType


def node_rules(
    settings: Iterable[str],
    tree: str,
    *,
    without_kernel_messages: bool = False,
    types: Mapping[int, int] | None = None,
) -> tuple[Rule, ...]:
    """Settings below /proc/sys with values of their own, /dev/kmsg where there is none, other file-system types.

    `settings` are names like `kernel/panic`; files with their values lie below the directory `tree`, where they absorb
    what is written. One rule per file, and not one for all of /proc/sys: a listing of `/proc/sys/kernel` stays the
    kernel's, and a file that somebody removes from the tree is the kernel's again.

    `types` maps types to the ones to tell instead. By type and not by path: below a path there may be other mounts,
    and the kubelet asks each volume whether it is a tmpfs (pkg/volume/emptydir).
    """
    rules: list[Rule] = [Redirect(f"/proc/sys/{name}", f"{tree}/{name}", only_existing=True) for name in settings]
    if without_kernel_messages:
        rules.append(Redirect("/dev/kmsg", "/dev/null"))
    rules += [StatfsOfType(found, told) for found, told in (types or {}).items()]
    return tuple(rules)
