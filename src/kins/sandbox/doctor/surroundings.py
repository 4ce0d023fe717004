"""The machine's size, its settings, its files and programs."""

from __future__ import annotations

from kins.sandbox.doctor.model import Cure, Explanation, always, working
from kins.sandbox.doctor.storage import GIBIBYTE
from kins.sandbox.facts import Facts
from kins.sandbox.levels import needs_tracer, settings_are_there
from kins.sandbox.probes.settings import WRITTEN_BY_THE_KUBELET

# Measured: all components of a node in gVisor hold 1.3 GB, natively 0.9.
SMALLEST_MEMORY = 3 * GIBIBYTE // 2
# containerd, the API server and etcd keep some hundreds each, pods come on top.
FEWEST_DESCRIPTORS = 4096


def _settings(facts: Facts) -> str:
    absent = [name for name, each in facts.sysctls.items() if each.value is None]
    fixed = [name for name, each in facts.sysctls.items() if each.value is not None and each.writable is False]
    parts = [f"{word}: {', '.join(names)}" for word, names in (("absent", absent), ("not writable", fixed)) if names]
    return "; ".join(parts) or "all there, and writable where they are written"


def _programs(found: dict[str, bool]) -> str:
    there = ", ".join(name for name, answer in found.items() if answer)
    absent = ", ".join(name for name, answer in found.items() if not answer)
    return f"there: {there or 'none'}; absent: {absent or 'none'}"


SIZE = (
    Explanation(
        "memory",
        "a node with its control plane holds about 1.3 GB, and images may lie in memory",
        "give the sandbox 2 GiB or more",
        works=lambda facts: facts.memory >= SMALLEST_MEMORY,
        shown=lambda facts: f"{facts.memory / GIBIBYTE:.1f} GiB",
    ),
    Explanation("cores", "a start takes about 20 s of one core in gVisor", "", works=always),
    Explanation(
        "descriptors",
        "the API server, etcd, containerd and pods hold some thousands of files open",
        "ulimit -Hn 65536, docker run --ulimit nofile=65536",
        works=lambda facts: facts.descriptors < 0 or facts.descriptors >= FEWEST_DESCRIPTORS,
        shown=lambda facts: str(facts.descriptors) if facts.descriptors >= 0 else "no limit",
    ),
)
SETTINGS = (
    Explanation(
        "sysctls",
        f"the kubelet writes {', '.join(WRITTEN_BY_THE_KUBELET)}; others' node software reads and writes more",
        "a writable /proc/sys (docker run --privileged)",
        cures=(
            Cure("the tracer, which is needed here anyway, leads the kubelet's calls to files", "none", needs_tracer),
            Cure(
                "an overlay over /proc/sys with the absent files in its upper layer",
                "what is written to them has no effect",
                working("overlay_on_proc_sys"),
            ),
            Cure(
                "a tracer leads the kubelet's calls to files",
                "some 0.1 ms for each matched call",
                working("interception"),
            ),
        ),
        works=settings_are_there,
        shown=_settings,
    ),
)
FILES_AND_PROGRAMS = (
    Explanation(
        "has_hosts_file",
        "containerd copies /etc/hosts into each pod and fails without it",
        "",
        cures=(Cure("an /etc/hosts with localhost, removed at the end", "none", always),),
        works=lambda facts: facts.has_hosts_file,
        shown=lambda facts: "there" if facts.has_hosts_file else "there is no /etc/hosts",
    ),
    Explanation(
        "has_resolver_file",
        "containerd fails a pod for which it finds no resolv.conf",
        "",
        cures=(Cure("the kubelet gets one of the cluster's own", "none", always),),
        works=lambda facts: facts.has_resolver_file,
        shown=lambda facts: "there" if facts.has_resolver_file else "there is no /etc/resolv.conf",
    ),
    Explanation(
        "programs",
        "the kubelet mounts volumes by calling mount and umount; that of busybox does not know --no-canonicalize",
        "apt-get install mount",
        cures=(Cure("a mount and an umount of kins' own, for the kubelet alone", "none", always),),
        works=lambda facts: all(facts.programs.values()),
        shown=lambda facts: _programs(facts.programs),
    ),
    Explanation(
        "other_programs",
        "kins calls none of them; other node software does",
        "",
        works=always,
        shown=lambda facts: _programs(facts.other_programs),
    ),
)
