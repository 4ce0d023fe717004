"""Facts that can be shown to anybody: no addresses, host names, users' paths or values of proxies in them."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping

import msgspec

from kins.sandbox.facts import Answer, Facts, FileSystem

# Paths that are everywhere alike.
COMMON = ("/proc", "/sys", "/dev", "/etc")
# RFC 5737: addresses for documents.
DOCUMENTATION = "192.0.2."
ROUND = 2**30


def anonymous(facts: Facts, ranges: Iterable[str]) -> Facts:
    """The facts without what tells of whom they are. Of the ranges in use only loopback's, and those of `ranges` that
    something overlaps, are left: no more is decided by them."""
    answers = {
        field: Answer(value.works, _without_paths(value.cause))
        for field, value in msgspec.structs.asdict(facts).items()
        if isinstance(value, Answer)
    }
    return msgspec.structs.replace(
        facts,
        **answers,
        uid=0 if facts.uid == 0 else 1000,
        memory=_rounded(facts.memory),
        kernel_release=_release(facts.kernel_release),
        file_systems={name: _file_system(each) for name, each in facts.file_systems.items()},
        control_groups_v1={_group_place(place): names for place, names in facts.control_groups_v1.items()},
        control_groups_v2=_group_place(facts.control_groups_v2) if facts.control_groups_v2 else None,
        used_ranges=_ranges(facts.used_ranges, tuple(ranges)),
        resolvers=_resolvers(facts.resolvers),
        inside=anonymous(facts.inside, ranges) if facts.inside is not None else None,
    )


def _without_paths(cause: str) -> str:
    """Quoted paths that are no part of every system are left out."""
    return re.sub(r"(PosixPath\()?'(/[^']*)'\)?", lambda match: _path(match[2]), cause)


def _path(path: str) -> str:
    return f"'{path}'" if path.startswith(COMMON) else "'…'"


def _release(release: str) -> str:
    """The version, and whether gVisor says that it is gVisor."""
    found = re.match(r"\d+(\.\d+)*", release)
    return (found[0] if found else "") + ("-gvisor" if "gvisor" in release.lower() else "")


def _rounded(size: int) -> int:
    return size // ROUND * ROUND or size


def _file_system(found: FileSystem) -> FileSystem:
    return msgspec.structs.replace(found, size=_rounded(found.size), free=_rounded(found.free))


def _group_place(place: str) -> str:
    return place if place.startswith("/sys/fs/cgroup") else "/elsewhere"


def _ranges(used: Iterable[str], wanted: tuple[str, ...]) -> tuple[str, ...]:
    networks = [ipaddress.ip_network(each) for each in wanted]
    kept = set()
    for each in used:
        found = ipaddress.ip_interface(each).network
        if found.is_loopback or found.prefixlen == 0:
            kept.add(each)
        else:
            kept |= {str(ours) for ours in networks if ours.version == found.version and ours.overlaps(found)}
    return tuple(sorted(kept))


def _resolvers(resolvers: Mapping[str, str]) -> dict[str, str]:
    """Loopback's stay as they are; the others become documentation's, in their order."""
    return {
        address if ipaddress.ip_address(address).is_loopback else f"{DOCUMENTATION}{number}": answer
        for number, (address, answer) in enumerate(resolvers.items(), 1)
    }
