"""The parts of a script, in their order."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from importlib.resources import files as resources
from itertools import groupby

import msgspec

from kins.cluster import node_namespaces
from kins.cluster.cluster_plan import ClusterPlan
from kins.cluster.identities import SIGNING_KEY
from kins.cluster.preparation import Surroundings
from kins.cluster.script import heading, programs
from kins.cluster.script.objects import api_objects, metrics_registration, proxy_maps
from kins.components import NODE
from kins.components.cgroupfs import CONTROL_GROUPS
from kins.components.containerd import PAUSE_ARCHIVE
from kins.components.layout import ENGINE
from kins.pki import Identity
from kins.plan import AnyStep, shell
from kins.plan.launcher import python_module
from kins.supervise import Component


def render(plan: ClusterPlan, surroundings: Surroundings) -> str:
    """The whole script; it ends with a newline."""
    return "\n\n".join([*_outside(plan), *_control_plane(plan), *_node(plan, surroundings), *_serving(plan)]) + "\n"


def _outside(plan: ClusterPlan) -> Iterator[str]:
    """What runs before the namespaces are made, and the functions of both sides."""
    yield f"#!/bin/sh\n{heading.text(plan)}"
    enter = _enter(plan) if plan.has_node else ""
    yield f"set -eu\nCLUSTER={shlex.quote(str(plan.files.directory))}\nENTER={shlex.quote(enter)}"
    functions = (resources(__package__) / "functions.sh").read_text()
    yield functions.removeprefix("#!/bin/sh\n").strip()
    yield _title("What this script needs")
    yield programs.checks(plan)
    yield 'if [ "${1-}" != --inside ]; then\n    outside "$0" "$@"\n    exit\nfi'


def _enter(plan: ClusterPlan) -> str:
    """The command that makes the node's namespaces."""
    if plan.record.decisions.isolation == "sandbox":
        return node_namespaces.COMMAND
    # unshare(1) maps one id, or asks newuidmap; and somebody must stay outside for a relay
    sockets = [str(plan.files.outside_socket)] if plan.record.decisions.behind_relay else []
    return shlex.join(python_module("kins.cluster.user_namespace", *sockets, "--"))


def _control_plane(plan: ClusterPlan) -> Iterator[str]:
    yield _title(
        "The cluster's directory, from inside of the namespaces" if plan.has_node else "The cluster's directory"
    )
    yield "started_inside"
    yield _directories(plan)
    yield _title("Certificates and configuration of the control plane")
    yield _certificates(plan, plan.control_plane_identities, SIGNING_KEY)
    yield from (f"# {each.because}\n{each.script()}" for each in plan.control_plane_files)
    yield "umask 022"
    yield _title("The control plane. All start at once: each waits for what it needs")
    yield from map(_component, _early(plan, node=False))


def _node(plan: ClusterPlan, surroundings: Surroundings) -> Iterator[str]:
    if not plan.has_node:
        return
    yield _title("Certificates and configuration of the node")
    yield "umask 077"
    yield _certificates(plan, plan.node_identities)
    yield from (f"# {each.because}\n{each.script()}" for each in plan.node_files(surroundings))
    yield "umask 022"
    yield _title("The sandbox, prepared for a node. Mounts end with the namespace; the rest is noted to be undone")
    yield f"# the namespaces have a host name of their own\nhostname {plan.record.settings.node_name}"
    yield from _steps(plan, plan.steps)
    yield _title("The node's programs")
    for each in _early(plan, node=True):
        yield _component(each)
        if each.name == "cgroupfs":
            # others may be there before, which are no use here
            yield f"wait_for 'the control groups are mounted' grep -q ' {CONTROL_GROUPS} fuse' /proc/mounts"
            yield from _steps(plan, plan.steps_in_control_groups)


def _serving(plan: ClusterPlan) -> Iterator[str]:
    """What follows when the API server answers."""
    yield _title("What components find in the API server, and those that wait for it")
    yield "wait_for 'the API server is ready' kubectl get --raw=/readyz"
    for name, objects in plan.objects.items():
        yield api_objects(name, objects)
    yield from map(_component, _late(plan))
    yield "wait_for 'pods are admitted: the default ServiceAccount is there' kubectl get serviceaccount default"
    if plan.has_node:
        yield from _node_ready(plan)
    if plan.record.settings.simulation is not None:
        yield _ready(*plan.record.settings.simulation.nodes)
    if plan.record.spec.proxy_for_pods:
        yield proxy_maps()
    yield "stay_inside"


def _node_ready(plan: ClusterPlan) -> Iterator[str]:
    name = plan.record.settings.node_name
    yield f"wait_for 'containerd listens' test -S {shlex.quote(str(plan.files.containerd_socket))}"
    job = plan.image_job("load", "--snapshotter", plan.record.decisions.snapshotter, str(PAUSE_ARCHIVE))
    yield f"# the image that keeps a pod's namespaces\n{shell.command(_in_environment(job.environment, job.argv))}"
    yield _ready(name)
    yield metrics_registration(plan)


def _ready(*nodes: str) -> str:
    what = f"node {nodes[0]} is Ready" if len(nodes) == 1 else f"{len(nodes)} nodes are Ready"
    named = " ".join(f"node/{name}" for name in nodes)
    return f"wait_for '{what}' kubectl wait {named} --for=condition=Ready --timeout=1s"


def _title(text: str) -> str:
    return f"### {text}"


def _directories(plan: ClusterPlan) -> str:
    paths = [str(path) for path in plan.files.directories()]
    return "\n".join(
        [
            "# for their owner only",
            "umask 077",
            shell.command(["mkdir", "-p", *paths, str(plan.files.directory / "bin")]),
            "# pods of any user read the volumes below it",
            f"chmod 755 {shlex.quote(str(plan.files.kubelet_root))}",
            "# the engine's first argument or name is the program",
            f'ln -s {shlex.quote(str(ENGINE))} "$CLUSTER/bin/kubectl"',
            'export PATH="$CLUSTER/bin:$PATH" KUBECONFIG="$CLUSTER/kubeconfig" KUBECACHEDIR="$CLUSTER/kubectl-cache"',
        ]
    )


def _certificates(plan: ClusterPlan, identities: Iterable[Identity], *signing_keys: str) -> str:
    """The one thing that is not done by an ordinary program: openssl is missing in most sandboxes, and takes a file of
    configuration for each certificate."""
    lines = ",\n  ".join(msgspec.json.encode(each).decode() for each in identities)
    words = python_module("kins.pki", str(plan.files.pki), *signing_keys)
    return (
        "# keys and certificates, by kins' own Python: openssl is not to be found in small sandboxes\n"
        + shell.here_document(shell.command(words), f"[\n  {lines}\n]\n")
    )


def _steps(plan: ClusterPlan, steps: Iterable[AnyStep]) -> Iterator[str]:
    """Neighbours with one reason have one comment."""
    for because, group in groupby(steps, key=lambda step: step.because):
        lines = [line for step in group for line in (_note(plan, step), step.describe()) if line]
        yield "\n".join([shell.comment(heading.reason(plan, because)), *lines])


def _note(plan: ClusterPlan, step: AnyStep) -> str:
    """Nothing for what ends with a network of the node's own."""
    ends = plan.record.decisions.behind_relay and step.scope == "network"
    return "" if ends else step.note()


def _early(plan: ClusterPlan, *, node: bool) -> list[Component]:
    """Components that need nothing in the API server: they start before it answers."""
    return [each for name, each in plan.components.items() if name not in plan.objects and (name in NODE) == node]


def _late(plan: ClusterPlan) -> list[Component]:
    return [each for name, each in plan.components.items() if name in plan.objects]


def _component(component: Component) -> str:
    """A line for each flag."""
    environment = [f"{name}={value}" for name, value in component.environment.items()]
    program, *flags = (*component.launcher, *component.argv)
    lines = [f"component {component.name} env -i", *map(shlex.quote, (*environment, program, *flags))]
    comments = [f"# {component.name} needs {', '.join(component.needs)}"] if component.needs else []
    if any("$" in each for each in (program, *flags)):
        comments.append("# shellcheck disable=SC2016  # for the inner shell")
    return "\n".join([*comments, " \\\n    ".join(lines)])


def _in_environment(environment: dict[str, str], argv: Iterable[str]) -> list[str]:
    return ["env", "-i", *(f"{name}={value}" for name, value in environment.items()), *argv]
