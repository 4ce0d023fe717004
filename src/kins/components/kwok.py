"""kwok: nodes without a machine, and pods on them that report what real ones would (`engine/internal/simulation`)."""

from __future__ import annotations

import platform
from collections.abc import Iterator

from kins.components.environment import component_environment
from kins.components.layout import ENGINE, Layout
from kins.components.objects import ApiObject, cluster_rights, rule
from kins.components.settings import Settings, Simulation
from kins.supervise import Component

USER = "kins:kwok"
ADDRESS = "127.0.0.1"
# Upstream's words (kwok.sigs.k8s.io: kwok manages nodes): the annotation, a label for selectors, and the taint.
MARK, MARKED = "kwok.x-k8s.io/node", "fake"
SELECTOR = "type=kwok"
ROLE = "node-role.kubernetes.io/fake"
# The kind of address that the API server asks first for the kubelet of a node. No real node of ours has one.
ADDRESS_TYPE = "InternalDNS"
# As Kubernetes calls architectures, by uname(2)'s names.
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
# A label's value (kubernetes.io: labels), as which a node's name is repeated.
LONGEST_NAME = 63


def kwok(layout: Layout, settings: Settings, simulation: Simulation) -> Component:
    """What plays the kubelets of all simulated nodes. Ready, by sd_notify(3), means that it knows all nodes and pods.

    It listens on loopback, for the API server, whoever asks for logs or a shell: to say that there are none.
    """
    return Component(
        name="kwok",
        argv=(
            str(ENGINE),
            "kwok",
            f"--kubeconfig={layout.client_configuration('kwok')}",
            f"--pod-range={simulation.pod_range}",
            f"--bind-address={ADDRESS}",
            f"--port={settings.ports.kwok}",
            f"--tls-cert-file={layout.certificate('kwok')}",
            f"--tls-private-key-file={layout.key('kwok')}",
            f"--client-ca-file={layout.certificate('ca')}",
            *settings.extra("kwok"),
        ),
        environment=component_environment(layout.directory),
        log=layout.log("kwok"),
        readiness="notify",
        needs=("kube-apiserver",),
        stop_rank=1,
    )


def node_name(cluster: str, number: int) -> str:
    """The name of a cluster's simulated node, counted from 0; a long one of the cluster is cut."""
    end = f"-fake-{number}"
    return cluster[: LONGEST_NAME - len(end)] + end


def objects(simulation: Simulation) -> tuple[ApiObject, ...]:
    """What kwok may do (upstream's kustomize/rbac, without its own kinds), and the nodes, which users may change."""
    return (
        *cluster_rights(
            USER,
            rule("", "nodes", "get list watch"),
            rule("", "pods", "get list watch patch update delete"),
            rule("", "nodes/status pods/status", "patch update"),
            rule("coordination.k8s.io", "leases", "get list watch create patch update"),
            rule("", "events", "create patch update"),
        ),
        *_nodes(simulation),
    )


def _nodes(simulation: Simulation) -> Iterator[ApiObject]:
    """A kubelet would give its Node these labels. How large they are is left to upstream: 1000 CPUs and 1 TiB, so that
    no request is too large for them."""
    architecture = ARCHITECTURES.get(platform.machine(), platform.machine())
    for name, address in simulation.nodes.items():
        labels = {
            "kubernetes.io/hostname": name,
            "kubernetes.io/arch": architecture,
            "kubernetes.io/os": "linux",
            "type": "kwok",
            ROLE: "",
        }
        # Pods for real ones must not get there by chance.
        taints = [{"key": MARK, "value": MARKED, "effect": "NoSchedule"}] if simulation.beside else []
        addresses = [("InternalIP", address), ("Hostname", name), (ADDRESS_TYPE, ADDRESS)]
        yield ApiObject(
            collection="/api/v1/nodes",
            content={
                "apiVersion": "v1",
                "kind": "Node",
                "metadata": {"name": name, "labels": labels, "annotations": {MARK: MARKED}},
                **({"spec": {"taints": taints}} if taints else {}),
                "status": {
                    "addresses": [{"type": kind, "address": value} for kind, value in addresses],
                    "nodeInfo": {"architecture": architecture, "operatingSystem": "linux"},
                },
            },
            only_made=True,
        )
