"""Identity, namespaces, system calls: what a node is kept apart with."""

from __future__ import annotations

from kins.sandbox.doctor.model import Cure, Explanation, always, working
from kins.sandbox.facts import Facts
from kins.sandbox.levels import PRIVILEGE, carries_best, has_identities, lacks_inside, pod_network
from kins.sys.process import CAP_NET_ADMIN, CAP_SYS_ADMIN
from kins.sys.user_namespaces import ALL_IDENTITIES

USER_NAMESPACE = "a user namespace, in which kins has all of them"
NAMED = {"CAP_SYS_ADMIN": CAP_SYS_ADMIN, "CAP_NET_ADMIN": CAP_NET_ADMIN}


def _capabilities(facts: Facts) -> str:
    held = [name for name, number in NAMED.items() if facts.capabilities >> number & 1]
    return (
        f"{facts.capabilities.bit_count()} of them, {' and '.join(held) or 'neither CAP_SYS_ADMIN nor CAP_NET_ADMIN'}"
    )


def _seccomp(facts: Facts) -> str:
    return (
        ", ".join(f"{name} {'works' if works else 'does not'}" for name, works in facts.seccomp.items()) or "no answer"
    )


def _user_namespace(facts: Facts) -> str:
    lacks = lacks_inside(facts)
    if lacks:
        return f"one can be had, and carries no node either ({', '.join(lacks)})"
    return facts.user_namespace.cause or "yes"


IDENTITY = (
    Explanation("uid", "root may do what its capabilities allow; a user has none", "", works=always),
    Explanation(
        "capabilities",
        "mounts and namespaces need CAP_SYS_ADMIN, links CAP_NET_ADMIN",
        "docker run --cap-add SYS_ADMIN --cap-add NET_ADMIN, or --privileged",
        works=lambda facts: all(facts.capabilities >> number & 1 for number in NAMED.values()),
        cures=(
            # Facts that were asked inside of one have no further ones inside.
            Cure(
                USER_NAMESPACE,
                "none: pods share the sandbox's network in any case",
                lambda facts: facts.user_namespace.works and facts.inside is None and pod_network(facts) == "shared",
            ),
            Cure(
                USER_NAMESPACE,
                "the node has a network of its own, into which published ports lead",
                lambda facts: facts.user_namespace.works and facts.inside is None,
            ),
        ),
        shown=_capabilities,
    ),
    Explanation(
        "identities",
        "files of images have many owners, and containers run as many users",
        "run the sandbox as root with CAP_SETUID and CAP_SETGID",
        cures=(
            Cure(
                "a tracer answers calls that change an owner or user as if they had worked",
                "all files and processes are one user's",
                working("interception"),
            ),
        ),
        works=has_identities,
        shown=lambda facts: "all" if facts.identities == ALL_IDENTITIES else str(facts.identities),
    ),
    Explanation(
        "kernel_release",
        "containerd refuses enable_unprivileged_ports below 4.11 by this very text, whatever the kernel can do",
        "",
        works=always,
    ),
)
NAMESPACES = (
    Explanation(
        "namespaces", "a node lives in mount, pid, ipc and uts namespaces of its own, with its own /proc", PRIVILEGE
    ),
    Explanation("mount_namespace", "no mount of a node is seen outside, and all end with it", PRIVILEGE),
    Explanation("pid_namespace", "when the supervisor ends, so does every process of the node", PRIVILEGE),
    Explanation("network_namespace", "each pod has one", PRIVILEGE),
    Explanation("ipc_namespace", "each pod has one", PRIVILEGE),
    Explanation("uts_namespace", "each pod has its own host name", PRIVILEGE),
    Explanation(
        "entering_namespaces",
        "runc enters a pod's namespaces with each of its containers, and `kubectl exec` does",
        "a newer gVisor: that of 2022 cannot",
    ),
    Explanation("pivot_root", "runc gives each container its root this way", "a newer gVisor: that of 2022 cannot"),
    Explanation(
        "user_namespace",
        "where the sandbox itself carries no node with a pod network, one can live in a user namespace",
        "allow user namespaces (sysctl user.max_user_namespaces; Docker: a seccomp profile that does)",
        works=lambda facts: carries_best(facts) or (facts.user_namespace.works and not lacks_inside(facts)),
        shown=_user_namespace,
    ),
)
CALLS = (
    Explanation(
        "interception",
        "what mounts cannot give, a tracer can: `kins up` uses it where it must, and `kins intercept` for any program",
        "a sandbox with ptrace and seccomp filters (docker run --cap-add SYS_PTRACE)",
    ),
    Explanation(
        "ptrace",
        "the tracer follows a process tree by it",
        "docker run --cap-add SYS_PTRACE",
    ),
    Explanation(
        "seccomp_trace",
        "only the calls that a rule names are stopped; else each one would be",
        "a sandbox that allows seccomp filters",
        cures=(Cure("seccomp's notifications (kins intercept --backend notify)", "none", working("seccomp_notify")),),
    ),
    Explanation(
        "seccomp_notify",
        "calls can be answered without stopping the process by ptrace",
        "Linux 5.9; gVisor has no such thing (September 2026)",
        cures=(
            Cure("ptrace with seccomp's trace action", "some 0.1 ms for each matched call", working("seccomp_trace")),
        ),
    ),
    Explanation(
        "seccomp_order",
        "a tracer that takes gVisor's order for that of Linux sees a call twice or not at all; so it is measured",
        "",
        works=always,
        shown=lambda facts: facts.seccomp_order or "not known: nothing could be traced",
    ),
    Explanation(
        "seccomp",
        "runc's profile for containers (RuntimeDefault) refuses calls by `errno`; `log` is for looking only",
        "a sandbox that allows seccomp filters",
        works=lambda facts: facts.seccomp.get("errno", False),
        shown=_seccomp,
    ),
)
