"""The registry that a cluster may have: its port, its address, and who is told of it."""

from __future__ import annotations

import socket

from kins.cluster.spec import ClusterSpec
from kins.components.objects import ApiObject
from kins.components.registry import address
from kins.errors import KinsError


def registry_address(spec: ClusterSpec) -> str | None:
    """How names of images in the cluster's registry begin; None without a registry."""
    return None if spec.registry is None else address(spec.registry)


def check_port(port: int) -> None:
    """Raises KinsError `port-taken` when something listens on that port of loopback."""
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError as error:
        raise KinsError(
            f"the registry cannot listen on 127.0.0.1:{port}: {error.strerror}",
            code="port-taken",
            hint="kins up --registry --registry-port 5001",
        ) from error


def announcement(port: int) -> ApiObject:
    """The ConfigMap by which development tools find a cluster's registry (sig-cluster-lifecycle, KEP-1755)."""
    return ApiObject(
        collection="/api/v1/namespaces/kube-public/configmaps",
        content={
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "local-registry-hosting"},
            "data": {"localRegistryHosting.v1": f'host: "{address(port)}"\n'},
        },
    )
