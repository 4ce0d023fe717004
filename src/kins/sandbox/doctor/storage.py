"""Mounts, overlays, file systems, devices."""

from __future__ import annotations

from kins.sandbox.doctor.model import Cure, Explanation, always, working
from kins.sandbox.facts import Facts, FileSystem
from kins.sandbox.levels import PRIVILEGE, needs_tracer, settings_are_there
from kins.sys import mounts

TYPES = {
    mounts.TMPFS: "tmpfs",
    mounts.EXT4: "ext4",
    mounts.OVERLAY: "overlay",
    mounts.GOFER_9P: "9p (gVisor's gofer)",
}
GIBIBYTE = 2**30


def _type(facts: Facts) -> str:
    return TYPES.get(facts.data_type, f"{facts.data_type:#x}")


def _file_systems(facts: Facts) -> str:
    return "; ".join(f"{name}: {_file_system(each)}" for name, each in facts.file_systems.items()) or "no answer"


def _file_system(found: FileSystem) -> str:
    # gVisor's overlay in memory says that it is without end.
    space = (
        "no limit" if found.size > 1 << 60 else f"{found.free / GIBIBYTE:.1f} of {found.size / GIBIBYTE:.1f} GiB free"
    )
    return f"{found.kind or 'unknown'} {found.magic:#x}, {space}{'' if found.writable else ', not writable'}"


def _data_is_writable(facts: Facts) -> bool:
    return "data" not in facts.file_systems or facts.file_systems["data"].writable


MOUNTS = (
    Explanation("mounts", "volumes and containers are mounts", PRIVILEGE),
    Explanation("propagation", "what is mounted into a volume shows in the containers that have it", PRIVILEGE),
    Explanation(
        "root_shared",
        'the kubelet and volumes with `mountPropagation` need a shared `/`: "is not a shared mount"',
        "",
        cures=(
            Cure("the node makes `/` shared in a mount namespace of its own", "none", working("namespaces", "mounts")),
        ),
        works=lambda facts: facts.root_shared,
    ),
    Explanation(
        "masking",
        "runc since 1.3.3 masks directories of /proc by a tmpfs with the option nr_blocks; without it each container "
        "fails",
        "a gVisor of July 2026 or later; runc before 1.3.3 does not ask for it",
    ),
    Explanation(
        "overlay_on_data",
        "containerd's overlayfs shares the layers of images on disk",
        "a KINS_HOME on ext4, xfs or tmpfs",
        cures=(
            Cure(
                "what images are unpacked to lies on a tmpfs",
                "memory: all unpacked images, at most half of the sandbox's",
                working("overlay_on_tmpfs"),
            ),
            Cure(
                "containerd's native snapshotter, which copies each layer",
                "disk and time: each layer is a whole copy",
                always,
            ),
        ),
    ),
    Explanation(
        "overlay_on_tmpfs",
        "images are unpacked there where overlay does not work on disk",
        PRIVILEGE,
        cures=(
            Cure("the disk is used: overlay works there", "none", working("overlay_on_data")),
            Cure(
                "containerd's native snapshotter, which copies each layer",
                "disk and time: each layer is a whole copy",
                always,
            ),
        ),
    ),
    Explanation(
        "overlay_on_proc_sys",
        "files that /proc/sys lacks are added by an overlay over it; only needed where `sysctls` lacks some",
        "in gVisor: CAP_SYS_ADMIN; Linux has no overlay over /proc",
        cures=(
            Cure("not needed: each setting is there and can be written", "none", settings_are_there),
            Cure(
                "a tracer leads the calls to files",
                "some 0.1 ms a call",
                working("interception"),
            ),
        ),
    ),
)
FILES = (
    Explanation(
        "data_type",
        "cAdvisor of Kubernetes 1.36 knows no 9p and would give no figures of it; the kubelet here has a plugin for it",
        "",
        works=always,
        shown=_type,
    ),
    Explanation(
        "unwritable",
        "a node makes directories there, which are seen from inside only",
        "run the sandbox as root, with a root that can be written",
        cures=(
            Cure(
                "each is covered by a tmpfs, into which everything that was there is bound",
                "what the sandbox makes there later is not seen by the node",
                working("mounts"),
            ),
        ),
        works=lambda facts: not facts.unwritable,
        shown=lambda facts: ", ".join(facts.unwritable) or "none",
    ),
    Explanation(
        "file_systems",
        "clusters, images and volumes lie in `data`",
        "export KINS_HOME=/tmp/kins, or make room",
        works=_data_is_writable,
        shown=_file_systems,
    ),
    Explanation(
        "unix_sockets",
        "the kubelet and containerd talk over unix sockets",
        "set KINS_HOME to a directory on another file system",
    ),
    Explanation(
        "linked_programs",
        "CNI plugins of other distributions are links to one program",
        "",
    ),
)
DEVICES = (
    Explanation(
        "kernel_messages",
        "the kubelet's out-of-memory watcher opens /dev/kmsg and ends the kubelet without it",
        "docker run --device /dev/kmsg",
        cures=(
            Cure("the tracer, which is needed here anyway, leads to /dev/null", "none", needs_tracer),
            Cure("/dev/null bound over an empty file /dev/kmsg", "none", working("mounts")),
        ),
    ),
    Explanation(
        "fuse",
        "control groups are emulated in it, where the kernel's cannot be used; fuse-overlayfs of others needs it",
        "docker run --device /dev/fuse --cap-add SYS_ADMIN",
    ),
    Explanation(
        "tun",
        "pods reach what is outside of the sandbox by a relay with a tun device",
        "docker run --device /dev/net/tun --cap-add NET_ADMIN",
    ),
)
