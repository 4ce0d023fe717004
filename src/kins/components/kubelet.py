"""kubelet and its configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from kins.components.environment import component_environment
from kins.components.layout import ENGINE, Layout
from kins.components.settings import Settings
from kins.supervise import Component

# Where CSI drivers and charts expect the kubelet's directory: the cluster's own one is mounted there.
ROOT = "/var/lib/kubelet"
Statistics = Literal["cadvisor", "injected"]


def configuration_file(layout: Layout) -> Path:
    """The file of `configuration`."""
    return layout.configuration / "kubelet.json"


def configuration(layout: Layout, settings: Settings, control_group: str, resolver: Path) -> dict[str, Any]:
    """A KubeletConfiguration (kubelet.config.k8s.io/v1beta1).

    Eviction looks at memory only: sandboxes often start on a disk that is nearly full, which upstream's thresholds
    would answer with a node that takes no pod.
    """
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": settings.node_address,
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
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": control_group,
        "failCgroupV1": False,
        "failSwapOn": False,
        "makeIPTablesUtilChains": False,
        "protectKernelDefaults": False,
        "clusterDNS": [settings.dns_address],
        "clusterDomain": "cluster.local",
        "resolvConf": str(resolver),
        "volumePluginDir": str(layout.kubelet_root / "volume-plugins"),
        "evictionHard": {
            "memory.available": "100Mi",
            "nodefs.available": "0%",
            "nodefs.inodesFree": "0%",
            "imagefs.available": "0%",
        },
        "imageGCHighThresholdPercent": 100,
        "nodeStatusReportFrequency": "1m0s",
        "logging": {"verbosity": 1},
    }


def kubelet(layout: Layout, settings: Settings, statistics: Statistics) -> Component:
    """Upstream's kubelet; `injected` replaces cAdvisor by our own statistics source where cAdvisor cannot work."""
    return Component(
        name="kubelet",
        argv=(
            str(ENGINE),
            "kubelet",
            *(("--disable-cadvisor",) if statistics == "injected" else ()),
            f"--config={configuration_file(layout)}",
            f"--kubeconfig={layout.client_configuration('kubelet')}",
            f"--root-dir={ROOT}",
            f"--hostname-override={settings.node_name}",
            f"--node-ip={settings.node_address}",
            *settings.extra("kubelet"),
        ),
        environment=component_environment(layout.directory),
        log=layout.log("kubelet"),
        readiness="notify",
        stop_rank=0,
    )
