"""What the facts of a sandbox mean for other people's node software: steps, and calls to intercept."""

from __future__ import annotations

from pathlib import Path

import msgspec

from kins.cluster.kubelet_view import HIERARCHY, USAGE, USAGE_PER_CPU
from kins.cluster.sandbox_steps import (
    FORWARDING,
    hosts_file_steps,
    kernel_message_steps,
    namespace_steps,
    setting_steps,
)
from kins.errors import KinsError, UsageError
from kins.intercept import Redirect, Rule
from kins.plan import AnyStep
from kins.plan.files import CreateFile
from kins.plan.kernel import SetSysctl
from kins.run.groups import can_be_the_root, group_steps
from kins.run.places import place_steps
from kins.run.remains import RunFiles
from kins.sandbox import Facts
from kins.sandbox.levels import NEEDS, control_group_layout, has_usage_of_root

# No user namespace takes its place here: other software would lack the relay, and the rest of what a node of ours has.
ROOT = "run the sandbox as root with CAP_SYS_ADMIN"
# Without these there is no environment; what else is missing is the command's own matter.
NEEDED = ("namespaces", "mounts")
# The groups of pods, by those that they are in (pkg/kubelet/cm, with cgroupsPerQOS and the driver cgroupfs).
PARENTS = ("", "kubepods/", "kubepods/besteffort/", "kubepods/burstable/")


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What to run and how: a directory for data that stays, more directories with data, and whether calls may be
    intercepted."""

    command: tuple[str, ...]
    data: Path | None = None
    writable: tuple[str, ...] = ()
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


def check(facts: Facts) -> None:
    """Raises KinsError `run-unavailable` where no environment can be made."""
    for fact in NEEDED:
        answer, (consequence, _) = getattr(facts, fact), NEEDS[fact]
        if not answer.works:
            raise KinsError(
                f"this sandbox cannot be prepared for node software: {fact}: {answer.cause}; {consequence}",
                code="run-unavailable",
                hint=f"{ROOT}; a cluster of kins' own can do with a user namespace: kins up",
            )


def environment_steps(files: RunFiles, request: Request, facts: Facts) -> list[AnyStep]:
    """All steps, in their order, inside new mount, pid, ipc and uts namespaces."""
    return [
        *namespace_steps(),
        *map(_for_others, [FORWARDING, *setting_steps(files.kernel_settings, facts)]),
        *kernel_message_steps(facts),
        *group_steps(facts, files.group, as_root=can_be_the_root()),
        *place_steps(facts, files.data, request.data, request.writable),
        *hosts_file_steps(facts),
        # The kubelet and containerd read it for each pod; one that is there is left as it is.
        CreateFile(path="/etc/resolv.conf", because="resolvers"),
    ]


def _for_others(step: AnyStep) -> AnyStep:
    """The kernel's settings are the command's to change, and get their values back however it has left them."""
    return msgspec.structs.replace(step, always=True) if isinstance(step, SetSysctl) else step


def rules(facts: Facts, request: Request) -> list[Rule]:
    """The calls to intercept: a stock kubelet's look at a file that this kernel does not have (`usage_per_cpu`).

    A kubelet of ours gets it in a mount namespace of its own (`kins.cluster.kubelet_view`); here it may be any process
    of the command, such as k3s, which is kubelet and runtime's parent in one.
    """
    lacks = control_group_layout(facts) in ("v1", "v1-to-mount") and not has_usage_of_root(facts)
    if not (lacks and request.interception and facts.interception.works):
        return []
    places = [HIERARCHY, *(f"{HIERARCHY}/{each}*" for each in PARENTS)]
    return [Redirect(f"{place}/{USAGE_PER_CPU}", f"{place}/{USAGE}") for place in places]


def shortcomings(facts: Facts, request: Request) -> list[str]:
    """What node software will miss here, in sentences."""
    found = []
    if control_group_layout(facts) == "none":
        found.append("no control groups: a kubelet and container runtimes need them")
    if not facts.pod_network.works:
        found.append(f"no network namespaces for pods: {facts.pod_network.cause}")
    if request.interception and not has_usage_of_root(facts) and not rules(facts, request):
        found.append(
            f"a kubelet with cAdvisor will end: system calls cannot be intercepted: {facts.interception.cause}"
        )
    return found
