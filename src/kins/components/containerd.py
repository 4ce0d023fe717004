"""containerd, its configuration and its pause image."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from kins.components.environment import component_environment, network_environment
from kins.components.layout import BINARIES, Layout
from kins.components.settings import Settings
from kins.supervise import Component

PAUSE_ARCHIVE = BINARIES / "pause.tar"
STATE = "/run/containerd"
# Where its content store is, below its root (plugins/content/local).
CONTENT = "io.containerd.content.v1.content"
SHIM = "containerd-shim-runc-v2"
RUNC = "runc"
Snapshotter = Literal["overlayfs", "native"]

# `sandbox` is the pause image of PAUSE_ARCHIVE.
# - NoNewKeyring: gVisor never frees session keyrings and allows about 200, so that a node would end after some 190
#   container starts ("unable to create session key: disk quota exceeded").
# - use_local_image_pull: the other way, by containerd's transfer service, knows one directory of registries only.
# - enable_unprivileged_*: true by default, and written to a sysctl of the pod that gVisor does not have.
# - The opt plugin and NRI would create directories outside of the cluster's own.
CONFIGURATION = """\
version = 3
root = "{root}"
state = "{state}"
disabled_plugins = [
  "io.containerd.internal.v1.opt",
  "io.containerd.nri.v1.nri",
  "io.containerd.snapshotter.v1.blockfile",
  "io.containerd.snapshotter.v1.erofs",
  "io.containerd.differ.v1.erofs",
  "io.containerd.tracing.processor.v1.otlp",
  "io.containerd.internal.v1.tracing",
]

[grpc]
  address = "{socket}"

[plugins."io.containerd.cri.v1.images"]
  snapshotter = "{snapshotter}"
  use_local_image_pull = true
  [plugins."io.containerd.cri.v1.images".registry]
    config_path = "{registries}"
  [plugins."io.containerd.cri.v1.images".pinned_images]
    sandbox = "{pause}"

[plugins."io.containerd.cri.v1.runtime"]
  disable_apparmor = true
  restrict_oom_score_adj = true
  enable_unprivileged_ports = false
  enable_unprivileged_icmp = false
  netns_mounts_under_state_dir = true
  enable_cdi = false
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = [{plugins}]
    conf_dir = "{cni}"
    use_internal_loopback = {loopback}
  [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"{shim}
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
      BinaryName = "{runc}"
      NoNewKeyring = true
"""


def configuration_file(layout: Layout) -> Path:
    """The file of `configuration`."""
    return layout.configuration / "containerd.toml"


def registry_directories() -> tuple[Path, ...]:
    """Where users configure registries and mirrors, the first one that knows a registry winning: the user's own, as
    nerdctl reads them without root, before the system's (containerd, docs/hosts.md)."""
    configured = os.environ.get("XDG_CONFIG_HOME")
    home = Path(configured) if configured else Path.home() / ".config"
    own = (home / "containerd" / "certs.d", home / "docker" / "certs.d")
    return (*own, Path("/etc/containerd/certs.d"), Path("/etc/docker/certs.d"))


def configuration(layout: Layout, snapshotter: Snapshotter, pause_image: str, *, shared_network: bool = False) -> str:
    """containerd's configuration, format version 3 (containerd 2.x, docs/cri/config.md).

    With a shared network its programs are those of `shared_pods`; and its own way to set up the loopback link of a pod
    would fail.
    """
    programs = layout.shared_pods if shared_network else BINARIES
    return CONFIGURATION.format(
        root=layout.containerd_root,
        state=STATE,
        socket=layout.containerd_socket,
        snapshotter=snapshotter,
        pause=pause_image,
        registries=":".join(map(str, registry_directories())),
        plugins=", ".join(f'"{directory}"' for directory in dict.fromkeys((programs, BINARIES))),
        loopback="false" if shared_network else "true",
        shim=f'\n    runtime_path = "{programs}/{SHIM}"' if shared_network else "",
        runc=programs / RUNC,
        cni=layout.cni_configuration,
    )


def containerd(layout: Layout, settings: Settings) -> Component:
    """containerd with the CRI plugin; images are pulled with the caller's own proxy and authorities."""
    return Component(
        name="containerd",
        argv=(
            str(BINARIES / "containerd"),
            f"--config={configuration_file(layout)}",
            "--log-level=warn",
            *settings.extra("containerd"),
        ),
        environment=component_environment(layout.directory)
        | network_environment((settings.pod_range, settings.service_range)),
        log=layout.log("containerd"),
        readiness="notify",
        stop_rank=1,
    )
