"""The comments of a script: what it is, what was decided, why."""

from __future__ import annotations

from collections.abc import Iterator

from kins.cluster.cluster_plan import ClusterPlan
from kins.cluster.script.programs import needs_root
from kins.plan import shell
from kins.sandbox import Answer, Facts

USE = """\
What `kins up` would do in this sandbox now, as a script: cluster {name!r}, level {level}.

  kins plan > plan.sh
  sh plan.sh                     {user}until Ctrl-C
  sh plan.sh kubectl get nodes   for as long as a command runs

At its end it takes back everything. kins does the same from the same lists, more of it side by side. Besides, kins
remembers the cluster for other commands, makes it kubectl's current context, stops it in order, starts what dies after
a growing pause, and keeps logs within a size. Names and ports below were chosen when the script was printed.
"""


def text(plan: ClusterPlan) -> str:
    """The comment at the top."""
    spec, decisions = plan.record.spec, plan.record.decisions
    use = USE.format(name=spec.name, level=decisions.level, user="as root; " if needs_root(plan) else "")
    # Its examples keep their columns.
    lines = [f"# {line}".rstrip() for line in use.splitlines()]
    return "\n".join([*lines, *(shell.comment(each) for each in _decisions(plan))])


def _decisions(plan: ClusterPlan) -> Iterator[str]:
    decisions = plan.record.decisions
    if decisions.missing:
        yield "\nWhat is missing for more than that:"
        yield from (f"- {each.cause}. {each.consequence}. {each.hint}" for each in decisions.missing)
    if decisions.kubelet is not None:
        yield "\nDecided by the facts of this sandbox (kins up writes them to facts.json):"
        yield f"- kubelet {decisions.kubelet.kind}: {decisions.kubelet.because}"
        yield f"- images: snapshotter {decisions.snapshotter}, on {decisions.images_on}"
        yield f"- control groups: {decisions.control_groups}; interception: {'yes' if decisions.interception else 'no'}"
        if decisions.isolation == "user-namespace":
            network = "a network of its own" if decisions.behind_relay else "the sandbox's network"
            yield f"- the node lives in a user namespace of its own, with {network}"
        yield f"- outside names: {', '.join(decisions.resolvers) or 'none'}"
        yield f"- a relay to the outside: {'yes' if decisions.egress else 'no'}"
    if decisions.limits:
        yield "\nWhat this level does not do here:"
        yield from (f"- {each}" for each in decisions.limits)


def reason(plan: ClusterPlan, because: str) -> str:
    """The reason of a step, with the fact's own words where it is a fact."""
    if because not in Facts.__struct_fields__:
        return because
    fact = getattr(plan.facts, because)
    if isinstance(fact, Answer) and not fact.works:
        return f"fact {because}: {fact.cause}"
    return f"fact {because}"
