"""BuildKit's daemon and its configuration: it builds with the node's own containerd, into the node's own store."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from kins.components.containerd import Snapshotter
from kins.components.environment import component_environment, network_environment
from kins.components.layout import BINARIES, Layout
from kins.components.settings import Settings
from kins.supervise import Component

# Steps run as containers of the node's runc, below the node's own control group, in the sandbox's own network.
# NoNewKeyring: see containerd's configuration.
CONFIGURATION = """\
root = "{root}"

[grpc]
  address = ["unix://{socket}"]

[otel]
  socketPath = "{traces}"

[worker.oci]
  enabled = false

[worker.containerd]
  enabled = true
  address = "{containerd}"
  namespace = "k8s.io"
  snapshotter = "{snapshotter}"
  networkMode = "host"
  defaultCgroupParent = "{control_group}"
  {cache}
  [worker.containerd.runtime]
    name = "io.containerd.runc.v2"
    [worker.containerd.runtime.options]
      BinaryName = "{binaries}/runc"
      NoNewKeyring = true
"""


def programs() -> Path | None:
    """The directory of BuildKit's programs, which the extra `build` installs; None without it."""
    try:
        package = import_module("kins_build")
    except ModuleNotFoundError:
        return None
    found: Path = package.BINARIES
    return found


def configuration_file(layout: Layout) -> Path:
    """The file of `configuration`."""
    return layout.configuration / "buildkitd.toml"


def configuration(layout: Layout, snapshotter: Snapshotter, control_group: str, cache_size: int | None) -> str:
    """BuildKit's configuration (moby/buildkit, docs/buildkitd.toml.md); `cache_size` in bytes, None for BuildKit's own
    choice by the disk."""
    return CONFIGURATION.format(
        root=layout.builder,
        socket=layout.builder_socket,
        traces=layout.builder_traces,
        containerd=layout.containerd_socket,
        snapshotter=snapshotter,
        control_group=control_group,
        binaries=BINARIES,
        cache=f"maxUsedSpace = {cache_size}" if cache_size is not None else "",
    )


def buildkitd(layout: Layout, settings: Settings, directory: Path) -> Component:
    """The daemon, from the directory of its programs; it reaches registries as containerd does."""
    return Component(
        name="buildkitd",
        argv=(
            str(directory / "buildkitd"),
            f"--config={configuration_file(layout)}",
            # It takes gVisor for a user namespace, in which it would leave steps' control groups out of the node's own.
            "--rootless=false",
            *settings.extra("buildkitd"),
        ),
        environment=component_environment(layout.directory)
        | network_environment((settings.pod_range, settings.service_range)),
        log=layout.log("buildkitd"),
        readiness="notify",
        needs=("containerd",),
        stop_rank=0,
    )
