"""kubelet and its configuration."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from kins.components.environment import SYSTEM_PATH, component_environment, python_environment
from kins.components.layout import ENGINE, Layout
from kins.components.settings import CLUSTER_DOMAIN, Settings
from kins.plan import launcher
from kins.supervise import Component

# Where CSI drivers and charts expect the kubelet's directory: the cluster's own one is mounted there.
ROOT = "/var/lib/kubelet"
# Upstream's; without cAdvisor (statistics are ours); without control groups too (the container manager is ours then).
Kind = Literal["stock", "no-cadvisor", "no-cgroups"]
FLAGS: dict[Kind, tuple[str, ...]] = {
    "stock": (),
    "no-cadvisor": ("--disable-cadvisor=statistics",),
    "no-cgroups": ("--disable-cadvisor=all",),
}
# What it sets at its start below /proc/sys, and ends without (pkg/kubelet/cm, setupKernelTunables; pkg/util/sysctl).
SYSCTLS = {
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
}
# In gVisor any plain umount is refused below a mount that is seen in another mount namespace too, and that is what a
# kubelet's directory is when the kubelet has a namespace of its own: its pods would hang in Terminating for ever.
LAZY_UNMOUNT = """\
#!/bin/sh
PATH={path} exec {umount} -l "$@"
"""
# A program that the sandbox lacks.
SUPPLIED = """\
#!/bin/sh
exec {command} "$@"
"""


def configuration_file(layout: Layout) -> Path:
    """The file of `configuration`."""
    return layout.configuration / "kubelet.json"


def view_file(layout: Layout) -> Path:
    """The steps that prepare the kubelet's own mount namespace, where it has one."""
    return layout.configuration / "kubelet-view.json"


def programs(layout: Layout) -> Path:
    """The directory of programs that the kubelet finds before the system's, where there are any."""
    return layout.configuration / "kubelet-programs"


def program_texts(supplied: Sequence[str], *, lazy: bool) -> dict[str, str]:
    """Those programs by name: the ones that the sandbox lacks, and an umount that is always `lazy`."""
    texts = {name: SUPPLIED.format(command=_supplied(name)) for name in supplied}
    if lazy:
        umount = _supplied("umount") if "umount" in supplied else "umount"
        texts["umount"] = LAZY_UNMOUNT.format(path=SYSTEM_PATH, umount=umount)
    return texts


def _supplied(name: str) -> str:
    return shlex.join(launcher.python_module("kins.sys.mount_program", name))


def credentials_file(layout: Layout) -> Path:
    """Where it looks for docker's configuration first: in its root directory (pkg/credentialprovider, config.go)."""
    return layout.kubelet_root / "config.json"


def configuration(
    layout: Layout, settings: Settings, kind: Kind, control_group: str, resolver: Path, *, collects_images: bool
) -> dict[str, Any]:
    """A KubeletConfiguration (kubelet.config.k8s.io/v1beta1).

    Eviction looks at memory only: sandboxes often start on a disk that is nearly full, which upstream's thresholds
    would answer with a node that takes no pod. For the same reason unused images are collected only where their store
    has a size of its own.
    """
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": settings.socket(settings.node_address),
        "port": settings.ports.kubelet,
        "healthzBindAddress": "127.0.0.1",
        "healthzPort": settings.ports.kubelet_health,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": layout.certificate("ca")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": layout.certificate("kubelet"),
        "tlsPrivateKeyFile": layout.key("kubelet"),
        "containerRuntimeEndpoint": f"unix://{layout.containerd_socket}",
        **({"cgroupsPerQOS": False, "enforceNodeAllocatable": []} if kind == "no-cgroups" else {}),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": control_group,
        "failCgroupV1": False,
        "failSwapOn": False,
        "makeIPTablesUtilChains": False,
        "protectKernelDefaults": False,
        "clusterDNS": [settings.socket(settings.dns_address)],
        "clusterDomain": CLUSTER_DOMAIN,
        "resolvConf": str(resolver),
        "volumePluginDir": str(layout.kubelet_root / "volume-plugins"),
        "evictionHard": {
            "memory.available": "100Mi",
            "nodefs.available": "0%",
            "nodefs.inodesFree": "0%",
            "imagefs.available": "0%",
        },
        **({} if collects_images else {"imageGCHighThresholdPercent": 100}),
        "nodeStatusReportFrequency": "1m0s",
        "logging": {"verbosity": 1},
    }


def kubelet(
    layout: Layout, settings: Settings, kind: Kind, *, view: bool = False, supplied: Sequence[str] = ()
) -> Component:
    """The kubelet of a kind; with `view` in a mount namespace of its own, by `view_file`; with programs of ours where
    some are `supplied`."""
    environment = component_environment(layout.directory)
    launch = launcher.command(view_file(layout)) if view else ()
    if view or supplied:
        environment |= {"PATH": f"{programs(layout)}:{environment['PATH']}", **python_environment()}
    return Component(
        name="kubelet",
        argv=(
            str(ENGINE),
            "kubelet",
            *FLAGS[kind],
            f"--await={layout.containerd_socket}",
            # Where pods share the sandbox's network, the runtime finds no port in a pod's own.
            *((f"--forward-ports={layout.forwarding_socket}",) if settings.sockets else ()),
            # cAdvisor learns from containerd which group is whose: else /metrics/cadvisor names no pod.
            *((f"--containerd={layout.containerd_socket}",) if kind == "stock" else ()),
            f"--config={configuration_file(layout)}",
            f"--kubeconfig={layout.client_configuration('kubelet')}",
            f"--root-dir={ROOT}",
            f"--hostname-override={settings.node_name}",
            # It refuses an address that no link has; with a provider it takes the one that its Node has already.
            "--cloud-provider=external" if settings.sockets else f"--node-ip={settings.node_address}",
            *settings.extra("kubelet"),
        ),
        environment=environment,
        launcher=launch,
        log=layout.log("kubelet"),
        readiness="notify",
        needs=("containerd", "kube-apiserver"),
        stop_rank=0,
    )
