"""What node software finds missing in a sandbox, whosever it is, as steps: for a cluster's node and for `kins run`.

They are executed inside mount and pid namespaces of their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from kins.components import kubelet
from kins.components.cgroupfs import CONTROL_GROUPS
from kins.plan import AnyStep
from kins.plan.files import CreateFile, MakeDirectory
from kins.plan.kernel import SetSysctl
from kins.plan.mounts import BindMount, CoverDirectory, MountFileSystem, SetPropagation
from kins.sandbox import Facts
from kins.sandbox.levels import settings_are_there

FORWARDING = SetSysctl(name="net/ipv4/ip_forward", value="1", because="pod network")


def namespace_steps() -> list[AnyStep]:
    """The first ones in new namespaces."""
    because = "namespaces"
    return [
        # Cut off from the outside first, or the node's mounts would appear there.
        SetPropagation(target="/", mode="private", because=because),
        SetPropagation(target="/", mode="shared", because="mount propagation into containers (kubelet)"),
        MountFileSystem(target="/proc", kind="proc", source="proc", because=because),
    ]


def cover_steps(place: Path, steps: Sequence[AnyStep], facts: Facts) -> Iterator[AnyStep]:
    """Writable views of the directories in which these other steps make something, where nobody may. `place` is a
    directory for what is behind them."""
    made = [Path(step.path) for step in steps if isinstance(step, (MakeDirectory, CreateFile))]
    for covered in facts.unwritable:
        if any(path.is_relative_to(covered) for path in made):
            original = str(place / covered.strip("/").replace("/", "-"))
            yield MakeDirectory(path=original, because="unwritable")
            yield CoverDirectory(target=covered, original=original, because="unwritable")


def setting_steps(place: Path, facts: Facts) -> list[AnyStep]:
    """The kubelet's kernel settings: set what is there; where files are missing or refuse to be written, put an overlay
    over all of /proc/sys. `place` is a directory to make for its layers."""
    if settings_are_there(facts):
        wanted = kubelet.SYSCTLS.items()
        return [SetSysctl(name=name, value=value, because="kubelet") for name, value in wanted]
    because = "sysctls"
    options = f"lowerdir=/proc/sys,upperdir={place / 'upper'},workdir={place / 'work'}"
    return [
        MakeDirectory(path=str(place), because=because),
        MountFileSystem(target=str(place), kind="tmpfs", options="mode=0755", because=because),
        MakeDirectory(path=str(place / "work"), because=because),
        *setting_files(place / "upper", because),
        MountFileSystem(target="/proc/sys", kind="overlay", options=options, because="overlay_on_proc_sys"),
    ]


def setting_files(place: Path, because: str) -> Iterator[AnyStep]:
    """The kubelet's settings as files below a directory, as they lie below /proc/sys."""
    for name, value in kubelet.SYSCTLS.items():
        file = place / name
        yield MakeDirectory(path=str(file.parent), because=because)
        yield CreateFile(path=str(file), content=f"{value}\n", because=because)


def kernel_message_steps(facts: Facts) -> list[AnyStep]:
    """A /dev/kmsg that opens.

    A node made by mknod can be made in gVisor, but opening it gives ENXIO; /dev/null bound over a file opens.
    """
    if facts.kernel_messages.works:
        return []
    return [
        CreateFile(path="/dev/kmsg", because="kernel_messages"),
        BindMount(source="/dev/null", target="/dev/kmsg", because="kernel_messages"),
    ]


def hierarchy_steps(facts: Facts) -> list[AnyStep]:
    """The version 1 hierarchies of control groups, mounted where a sandbox has none but lets them be mounted."""
    because = "control_groups_v1_mountable"
    steps: list[AnyStep] = [MountFileSystem(target=CONTROL_GROUPS, kind="tmpfs", options="mode=0755", because=because)]
    for controller in facts.control_groups_v1_mountable:
        place = f"{CONTROL_GROUPS}/{controller}"
        steps += [
            MakeDirectory(path=place, because=because),
            MountFileSystem(target=place, kind="cgroup", source="cgroup", options=controller, because=because),
        ]
    return steps


def hosts_file_steps(facts: Facts) -> list[AnyStep]:
    """An /etc/hosts, which containerd copies for each pod."""
    if facts.has_hosts_file:
        return []
    return [CreateFile(path="/etc/hosts", content="127.0.0.1 localhost\n", because="has_hosts_file")]
