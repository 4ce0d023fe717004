"""What public attempts at a node in a sandbox were stopped by, with the cause as it was measured.

How each was met and cured, with the words of upstream's programs: `kins experiments run stock-worker`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from kins.sandbox.facts import Facts
from kins.sandbox.levels import has_usage_of_root

# The kubelet's default (kubernetes.io: garbage collection of containers and images).
COLLECTION_PERCENT = 85
PORTS, LAST_CAPABILITY = "net/ipv4/ip_unprivileged_port_start", "kernel/cap_last_cap"


class KnownBlocker(msgspec.Struct, frozen=True, kw_only=True):
    """What others called a blocker. `here`: whether this sandbox has its cause; `facts`: what decides that."""

    name: str
    here: bool
    facts: tuple[str, ...]
    cause: str
    answer: str


@dataclass(frozen=True)
class _Blocker:
    name: str
    facts: tuple[str, ...]
    cause: str
    answer: str
    here: Callable[[Facts], bool]


def _disk_is_full(facts: Facts) -> bool:
    data = facts.file_systems.get("data")
    return data is not None and data.size > 0 and (data.size - data.free) * 100 >= data.size * COLLECTION_PERCENT


def _is_absent(name: str) -> Callable[[Facts], bool]:
    return lambda facts: name not in facts.sysctls or facts.sysctls[name].value is None


def _is_old(facts: Facts) -> bool:
    numbers = re.match(r"(\d+)\.(\d+)", facts.kernel_release)
    return numbers is not None and (int(numbers[1]), int(numbers[2])) < (4, 11)


KNOWN = (
    _Blocker(
        "failed to get rootfs info: unable to find data in memory cache",
        ("usage_per_cpu", "control_groups_v2"),
        "one file is missing: without cpuacct.usage_percpu cAdvisor drops the root group's sample, and `/` is then not "
        "in its cache. It is not the type of the root, 9p or other",
        "a kubelet with its own source of figures; or the stock one, which is shown the file in a view of its own",
        lambda facts: not has_usage_of_root(facts),
    ),
    _Blocker(
        "open /dev/kmsg: no such file or directory",
        ("kernel_messages",),
        "the kubelet's out-of-memory watcher wants to read kernel messages. A node made by mknod opens with ENXIO in "
        "gVisor",
        "/dev/null bound over an empty file",
        lambda facts: not facts.kernel_messages.works,
    ),
    _Blocker(
        "path is mounted but it is not a shared mount",
        ("root_shared", "propagation"),
        "sandboxes begin with a private `/`; propagation itself works where `propagation` says so",
        "`/` is made shared in the node's own mount namespace; containerd's own directories stay private mounts, "
        "because gVisor refuses to unmount below shared ones",
        lambda facts: not facts.root_shared,
    ),
    _Blocker(
        "image garbage collection and disk pressure at once",
        ("file_systems",),
        f"the kubelet measures the whole disk, of which others have filled {COLLECTION_PERCENT} %; nothing is wrong",
        "thresholds of the kubelet's configuration: imageGCHighThresholdPercent 100, evictionHard 0 %",
        _disk_is_full,
    ),
    _Blocker(
        "CNI plugins behind symbolic links are not found",
        ("linked_programs",),
        "executing by way of links works where `linked_programs` says so; tracers that compare paths as text do not "
        "see through links",
        "one plugin, named by its own path",
        lambda facts: not facts.linked_programs.works,
    ),
    _Blocker(
        "overlayfs: invalid argument, and fuse-overlayfs that breaks",
        ("overlay_on_data", "overlay_on_tmpfs", "fuse"),
        "an overlay's upper directory must take whiteouts, opaque markers and renames, which gVisor's own root does "
        "not; one on tmpfs does. fuse-overlayfs was unreliable in gVisor",
        "images are unpacked on tmpfs, or copied by the native snapshotter; no FUSE",
        lambda facts: not facts.overlay_on_data.works,
    ),
    _Blocker(
        "open /proc/sys/kernel/cap_last_cap: no such file or directory",
        ("sysctls",),
        "the file is there; a tracer that leads all of /proc/sys elsewhere hides it from runc after pivot_root",
        "an overlay over /proc/sys, or rules for single files",
        _is_absent(LAST_CAPABILITY),
    ),
    _Blocker(
        "unprivileged_icmp and unprivileged_port require kernel version greater than or equal to 4.11",
        ("kernel_release", "sysctls"),
        "containerd compares uname's release; and where that is new enough, each pod fails where the file "
        f"/proc/sys/{PORTS} is missing",
        "enable_unprivileged_ports and enable_unprivileged_icmp are false in containerd's configuration",
        lambda facts: _is_old(facts) or _is_absent(PORTS)(facts),
    ),
    _Blocker(
        "nr_blocks: invalid argument, when a container is masked",
        ("masking",),
        "runc since 1.3.3 masks directories by a tmpfs with the options nr_blocks and nr_inodes, which gVisor knows "
        "since July 2026",
        "a newer gVisor, an older runc, or no maskedPaths",
        lambda facts: facts.mounts.works and not facts.masking.works,
    ),
)


def known_blockers(facts: Facts) -> list[KnownBlocker]:
    """Each of them, and whether its cause is here."""
    return [
        KnownBlocker(name=each.name, here=each.here(facts), facts=each.facts, cause=each.cause, answer=each.answer)
        for each in KNOWN
    ]
