"""What is measured: a cluster as the command that creates it, and where to find it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

HOME = Path("/root/benchmark")
# An address for the API server to advertise: it needs one that is not loopback, and an environment has no other. kins
# gives one by itself.
ADDRESS = "10.88.0.1"
APPLETS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl")


@dataclass(frozen=True)
class Cluster:
    """How to create and delete a cluster, and what of it can be waited for."""

    create: list[str]
    delete: list[str]
    kubeconfig: Path
    variables: dict[str, str] = field(default_factory=dict)
    node: str = ""  # that pods run on, or say so; empty without one
    commands: tuple[list[str], ...] = ()


# The node of a cluster of each level.
NODES = {"node": "kins-default", "fake": "default-fake-0", "control-plane": ""}


def kins(level: str) -> Cluster:
    """A cluster of kins."""
    HOME.mkdir(exist_ok=True)
    return Cluster(
        create=["kins", "up", f"--level={level}", "--output", "json"],
        delete=["kins", "down"],
        kubeconfig=HOME / "kins/clusters/default/kubeconfig",
        variables={"KINS_HOME": str(HOME / "kins"), "KUBECONFIG": str(HOME / "kubeconfig")},
        node=NODES[level],
        commands=(["kins", "--help"], ["kins", "status"]),
    )


def kwokctl(program: Path, engine: Path) -> Cluster:
    """A cluster of kwokctl's binary runtime, of the very programs that kins runs.

    Without kwok's own controller, so that both start the same four components, and with what kins has too: TLS,
    authorization, admission. Everything else is kwokctl's default.
    """
    binaries = HOME / "bin"
    binaries.mkdir(parents=True, exist_ok=True)
    for applet in APPLETS:
        (binaries / applet).symlink_to(engine)
    given = [f"--{applet}-binary={binaries / applet}" for applet in APPLETS if applet != "kubectl"]
    name = "--name=benchmark"
    workplace = HOME / "kwok"
    return Cluster(
        create=[
            *(str(program), "create", "cluster", name, "--runtime=binary", "--disable=kwok-controller", *given),
            *("--secure-port", "--kube-authorization", "--kube-admission"),
            f"--extra-args=kube-apiserver=advertise-address={ADDRESS}",
        ],
        delete=[str(program), "delete", "cluster", name],
        kubeconfig=workplace / "clusters/benchmark/kubeconfig.yaml",
        variables={
            "KWOK_WORKDIR": str(workplace),
            "KWOK_KUBECTL_BINARY": str(binaries / "kubectl"),
            "KUBECONFIG": str(HOME / "kubeconfig"),
        },
    )
