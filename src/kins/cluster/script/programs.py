"""The programs of the sandbox that a script calls, and what stands in for one that small sandboxes lack."""

from __future__ import annotations

from kins.cluster.cluster_plan import ClusterPlan
from kins.plan import shell
from kins.plan.launcher import python_module

# Of coreutils and their like: every image that has a shell has them.
ALWAYS = "base64 basename cat chmod cp dirname env grep id ln mkdir rm rmdir sed sleep stat tail"
# Of util-linux, findutils and hostname.
NODE = "find hostname mount umount unshare"


def needs_root(plan: ClusterPlan) -> bool:
    """Whether a script can be run by root alone."""
    return plan.has_node and plan.record.decisions.isolation == "sandbox"


def checks(plan: ClusterPlan) -> str:
    """Shell that fails for a program that is missing, or puts another one in its place."""
    if not plan.has_node:
        return f"need {ALWAYS}"
    stand_in = shell.command(python_module("kins.plan.ip"))
    root = ['[ "$(id -u)" = 0 ] || fail "run it as root"'] if needs_root(plan) else []
    return "\n".join(
        [
            *root,
            f"need {ALWAYS} {NODE}",
            "# iproute2 is missing in many images: then kins' own Python does what is asked of it here",
            f'command -v ip > /dev/null || ip() {{ {stand_in} "$@"; }}',
        ]
    )
