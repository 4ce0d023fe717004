"""What the facts of a sandbox mean for other people's node software: the steps, and what they cannot give."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from kins.cluster.sandbox_steps import (
    FORWARDING,
    cover_steps,
    hosts_file_steps,
    kernel_message_steps,
    namespace_steps,
    setting_files,
    setting_steps,
)
from kins.errors import UsageError
from kins.plan import AnyStep
from kins.plan.files import CreateFile
from kins.plan.kernel import SetSysctl
from kins.run.groups import can_be_the_root, group_steps
from kins.run.isolation import Grounds
from kins.run.places import place_steps
from kins.run.relay import resolver_steps
from kins.run.remains import RunFiles
from kins.run.tracing import emulates_control_groups, lacks_usage_per_cpu, traces_settings
from kins.sandbox import Facts
from kins.sandbox.levels import (
    has_identities,
    image_store,
    mounts_give_settings,
    needs_emulated_control_groups,
)


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What to run and how: a directory for data that stays, more directories with data, ports that are reached from
    outside in any case, and whether calls may be intercepted."""

    command: tuple[str, ...]
    data: Path | None = None
    writable: tuple[str, ...] = ()
    published: tuple[int, ...] = ()
    interception: bool = True

    def validate(self) -> None:
        """Raises UsageError `invalid-path` for a directory that cannot be mounted on."""
        for path in self.writable:
            if not path.startswith("/") or path.rstrip("/") == "":
                raise UsageError(
                    f"invalid --writable {path!r}: it is the absolute path of a directory",
                    code="invalid-path",
                    hint="kins run --writable /srv/data -- COMMAND",
                )


def environment_steps(files: RunFiles, request: Request, grounds: Grounds) -> list[AnyStep]:
    """All steps, in their order, inside new mount, pid, ipc and uts namespaces."""
    facts = grounds.facts
    steps = [
        *map(_for_others, _settings(files, grounds)),
        *kernel_message_steps(facts),
        *_groups(files, grounds),
        *place_steps(facts, files.data, request.data, request.writable),
        *hosts_file_steps(facts),
        # The kubelet and containerd read it for each pod; one that is there is left as it is.
        CreateFile(path="/etc/resolv.conf", because="resolvers"),
        *(resolver_steps(files.resolvers) if grounds.relayed else ()),
    ]
    return [*namespace_steps(), *cover_steps(files.covered, steps, facts), *steps]


def _groups(files: RunFiles, grounds: Grounds) -> list[AnyStep]:
    """The kernel's, if it has any to give."""
    if emulates_control_groups(grounds.facts):
        return []
    return group_steps(grounds.facts, files.group, as_root=can_be_the_root(grounds.isolation))


def _settings(files: RunFiles, grounds: Grounds) -> list[AnyStep]:
    """The kernel's, which the command may change. Forwarding is of the network, which in a user namespace is somebody
    else's, or one without others to forward to."""
    forwarding = [FORWARDING] if grounds.isolation == "sandbox" else []
    if traces_settings(grounds.facts):
        return [*forwarding, *setting_files(files.kernel_settings, "interception")]
    if mounts_give_settings(grounds.facts):
        return [*forwarding, *setting_steps(files.kernel_settings, grounds.facts)]
    return [*forwarding]


def _for_others(step: AnyStep) -> AnyStep:
    """The kernel's settings are the command's to change, and get their values back however it has left them."""
    return msgspec.structs.replace(step, always=True) if isinstance(step, SetSysctl) else step


def shortcomings(grounds: Grounds) -> list[str]:
    """What node software will miss here, in sentences."""
    facts = grounds.facts
    found = [*_shortcomings_of_mounts(facts)]
    if grounds.relayed:
        found.append(
            "the command has a network of its own, because this sandbox lets nobody change its network: it reaches "
            "the outside, and ports of its loopback are reached from there that `--publish PORT` names"
        )
    elif grounds.isolation == "user-namespace":
        found.append(
            "this sandbox lets nobody change its network, and no other one can be had: containers with that network "
            "cannot be made, nor can a network plugin make links"
        )
    elif not facts.pod_network.works:
        found.append(f"no network namespaces for pods: {facts.pod_network.cause}")
    if image_store(facts)[0] == "native":
        found.append(
            "overlay works on no file system here: containerd and k3s need the snapshotter native, Docker the storage "
            "driver vfs"
        )
    return found


def _shortcomings_of_mounts(facts: Facts) -> Iterator[str]:
    """Those that interception would have made up for, or control groups of ours."""
    cause = f"system calls cannot be intercepted: {facts.interception.cause}"
    if needs_emulated_control_groups(facts) and not emulates_control_groups(facts):
        yield "no control groups: a kubelet and container runtimes need them"
    if facts.interception.works:
        return
    if lacks_usage_per_cpu(facts):
        yield f"a kubelet with cAdvisor will end: {cause}"
    if not mounts_give_settings(facts):
        yield f"a kubelet will end, because it cannot write the kernel's settings: {cause}"
    if not has_identities(facts):
        yield f"one user id for everything, so that images with files of others cannot be unpacked: {cause}"
