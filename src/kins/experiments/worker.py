"""A worker node started by hand: stock containerd, stock kubelet, and nothing prepared but what was asked for.

It joins a control plane that runs beside it. What it cannot do shows where it stops: see `kins.experiments.blockers`.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from kins import kubeconfig, pki
from kins.cluster import store
from kins.cluster.api import ApiClient, is_ready_node
from kins.cluster.cluster import Cluster
from kins.cluster.spec import ClusterSpec
from kins.components import Layout, Settings
from kins.components.containerd import PAUSE_ARCHIVE
from kins.components.environment import component_environment
from kins.components.layout import BINARIES, ENGINE
from kins.components.versions import pause_image
from kins.errors import KinsError
from kins.experiments.context import Context, run
from kins.plan import AnyStep
from kins.plan.files import MakeDirectory
from kins.plan.mounts import MountFileSystem

NAME = "worker"
POD = "probe"
CONTROL_PLANE_SECONDS = 120.0
START_SECONDS = 30.0
STOP_SECONDS = 5.0
POLL_SECONDS = 0.25
REQUEST_SECONDS = 5.0
PODS = "/api/v1/namespaces/default/pods"
EVENTS = "/api/v1/namespaces/default/events"
# Where upstream's programs write whatever they are told: in memory, so that nothing of it is left.
TRACES = (
    "/run/containerd",
    "/run/mount",
    "/run/netns",
    "/var/lib/cni",
    "/var/lib/kubelet",
    "/var/log/containers",
    "/var/log/pods",
)

CONTAINERD_CONFIGURATION = """\
version = 3
root = "{directory}/containerd"
state = "{directory}/containerd-state"

[grpc]
  address = "{socket}"

[plugins."io.containerd.internal.v1.opt"]
  path = "{directory}/opt"

[plugins."io.containerd.nri.v1.nri"]
  socket_path = "{directory}/nri.sock"
  plugin_path = "{directory}/nri"
  plugin_config_path = "{directory}/nri"

[plugins."io.containerd.cri.v1.images"]
  snapshotter = "{snapshotter}"
  [plugins."io.containerd.cri.v1.images".pinned_images]
    sandbox = "{pause}"

[plugins."io.containerd.cri.v1.runtime"]
{runtime}
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = ["{directory}/cni-plugins"]
    conf_dir = "{directory}/cni"
{network}
  [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
{runc}
"""


@dataclass
class Setup:
    """What differs from stock; a fresh one is stock itself. Cures change it."""

    snapshotter: str = "overlayfs"
    containerd_settings: dict[str, str] = field(default_factory=dict)
    network_settings: dict[str, str] = field(default_factory=dict)
    runc_settings: dict[str, str] = field(default_factory=dict)
    kubelet_settings: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    # Put before a program's own command line, such as a tracer's.
    containerd_wrapper: tuple[str, ...] = ()
    kubelet_wrapper: tuple[str, ...] = ()


class Program:
    """A process with its log, in a session of its own."""

    def __init__(self, name: str, argv: list[str], environment: dict[str, str], log: Path) -> None:
        self.name = name
        self.log = log
        # A new attempt's log must not be taken for the old one's.
        with open(log, "wb") as output:
            self.process = subprocess.Popen(
                argv, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )

    @property
    def ended(self) -> bool:
        """Whether it has ended."""
        return self.process.poll() is not None

    def stop(self) -> None:
        """End it, and what it left in its session's process group."""
        if not self.ended:
            self.process.terminate()
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()


class Worker:
    """containerd and the kubelet of one node, as its `setup` says."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.directory = context.directory / "worker"
        self.setup = Setup()
        self.containerd: Program | None = None
        self.kubelet: Program | None = None
        self.helpers: list[Program] = []
        self.socket = self.directory / "containerd.sock"
        self.files: Layout
        self.settings: Settings
        self.client: ApiClient

    def prepare(self) -> None:
        """A control plane, the worker's identity in it, and its directories."""
        context = self.context
        for name in ("", "tmp", "cni", "cni-plugins", "nri", "opt", "kubelet", "volume-plugins"):
            (self.directory / name).mkdir(exist_ok=True)
        cluster, _ = Cluster.up(ClusterSpec(name=NAME, level="control-plane"), timeout=CONTROL_PLANE_SECONDS)
        context.undoing.callback(cluster.down)
        context.undoing.callback(self.stop)
        self.files = store.existing(NAME)
        record = store.record(self.files)
        assert record is not None, "it was just made"
        self.settings = record.settings
        self.client = ApiClient(self.files, record.settings)
        context.execute(list(trace_steps()))
        self._write_identity()

    def _write_identity(self) -> None:
        """The kubelet's client certificate, as a kubeconfig."""
        authority = pki.Authority.open(self.files.pki, "ca")
        authority.issue("worker", f"system:node:{NAME}", ("system:nodes",))
        entry = kubeconfig.Entry(
            name=NAME,
            server=self.settings.api_url,
            certificate_authority_data=Path(self.files.certificate("ca")).read_bytes(),
            client_certificate_data=Path(self.files.certificate("worker")).read_bytes(),
            client_key_data=Path(self.files.key("worker")).read_bytes(),
        )
        kubeconfig.write_private(self.directory / "kubeconfig", kubeconfig.dump(kubeconfig.build(entry)))

    def write(self, path: str, content: str) -> None:
        """Write a file, and the directories above it."""
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(content)

    # Programs

    def start_containerd(self) -> None:
        """Start it anew with the setup's configuration; wait until it answers or ends."""
        self._stop(self.containerd)
        self.socket.unlink(missing_ok=True)
        configuration = self.directory / "containerd.toml"
        configuration.write_text(self.containerd_configuration())
        argv = [*self.setup.containerd_wrapper, str(BINARIES / "containerd"), f"--config={configuration}"]
        self.containerd = self._program("containerd", argv)
        deadline = time.monotonic() + START_SECONDS
        while not self.containerd.ended and not answers(self.socket):
            if time.monotonic() > deadline:
                return
            time.sleep(POLL_SECONDS)

    def containerd_configuration(self) -> str:
        """Stock but for its places, the pause image (no registry is at hand) and what the setup says."""
        return CONTAINERD_CONFIGURATION.format(
            directory=self.directory,
            socket=self.socket,
            snapshotter=self.setup.snapshotter,
            pause=pause_image(),
            runtime=toml(self.setup.containerd_settings),
            network=toml(self.setup.network_settings),
            runc=toml(self.setup.runc_settings),
        )

    def load_pause_image(self) -> str:
        """Load the pause image; what went wrong, or nothing."""
        argv = [str(ENGINE), "images", "load", "--address", str(self.socket)]
        done = run([*argv, "--snapshotter", self.setup.snapshotter, str(PAUSE_ARCHIVE)])
        return done.stderr if done.returncode else ""

    def start_helper(self, name: str, argv: list[str]) -> Program:
        """Start a program that the others need; it runs until the end."""
        self.helpers.append(self._program(name, argv))
        return self.helpers[-1]

    def start_kubelet(self) -> None:
        """Start it anew with the setup's configuration."""
        self._stop(self.kubelet)
        configuration = self.directory / "kubelet.json"
        configuration.write_text(json.dumps(self.kubelet_configuration()))
        argv = [
            *self.setup.kubelet_wrapper,
            str(ENGINE),
            "kubelet",
            f"--config={configuration}",
            f"--kubeconfig={self.directory / 'kubeconfig'}",
            f"--root-dir={self.directory / 'kubelet'}",
            f"--hostname-override={NAME}",
        ]
        self.kubelet = self._program("kubelet", argv)

    def kubelet_configuration(self) -> dict[str, Any]:
        """Stock but for its places, the cluster's authority and what the setup says."""
        return {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "authentication": {"x509": {"clientCAFile": self.files.certificate("ca")}},
            "containerRuntimeEndpoint": f"unix://{self.socket}",
            "cgroupDriver": "cgroupfs",
            "volumePluginDir": str(self.directory / "volume-plugins"),
            **self.setup.kubelet_settings,
        }

    def _program(self, name: str, argv: list[str]) -> Program:
        environment = component_environment(self.directory) | self.setup.environment
        if "PYTHONPATH" in os.environ:  # a wrapper may be a module of ours
            environment["PYTHONPATH"] = os.environ["PYTHONPATH"]
        return Program(name, argv, environment, self.directory / f"{name}.log")

    def _stop(self, program: Program | None) -> None:
        if program is not None:
            program.stop()

    def stop(self) -> None:
        """End all of them."""
        for program in (self.kubelet, self.containerd, *self.helpers):
            self._stop(program)

    # The node and its pod, as the API has them

    def is_ready(self, since: datetime) -> bool:
        """Whether the kubelet has called the node Ready since a moment: the API keeps older calls."""
        return is_ready_node(self._get(f"/api/v1/nodes/{NAME}"), since)

    def complaint(self) -> str:
        """Why the node is not Ready, in the kubelet's words; empty while there is no node."""
        conditions = self._conditions()
        found = [each.get("message", "") for each in conditions if each["type"] == "Ready" and each["status"] != "True"]
        return "; ".join(found)

    def pressures(self) -> list[str]:
        """What the node runs short of, in the kubelet's words."""
        conditions = self._conditions()
        short = [each for each in conditions if each["type"].endswith("Pressure") and each["status"] == "True"]
        return [each.get("message", "") for each in short]

    def _conditions(self) -> list[dict[str, str]]:
        found: list[dict[str, str]] = self._get(f"/api/v1/nodes/{NAME}").get("status", {}).get("conditions", [])
        return found

    def create_pod(self) -> None:
        """Create the pod that is to run. Raises KinsError."""
        specification = {
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "main", "image": pause_image(), "imagePullPolicy": "Never"}],
        }
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": POD}, "spec": specification}
        status, answer = self.client.request("POST", PODS, REQUEST_SECONDS, pod)
        if status not in (201, 409):
            raise KinsError(f"no pod could be made: {answer.decode()[:300]}", code="experiment-failed")

    def delete_pod(self) -> None:
        """Delete it at once."""
        options = {"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0}
        self.client.request("DELETE", f"{PODS}/{POD}", REQUEST_SECONDS, options)

    def pod(self) -> dict[str, Any]:
        """The pod, empty when it is not there."""
        return self._get(f"{PODS}/{POD}")

    def warnings(self) -> list[str]:
        """Why the pod does not start, as events say it, oldest first."""
        events = self._get(EVENTS).get("items", [])
        ours = [each for each in events if each["type"] == "Warning" and each["involvedObject"].get("name") == POD]
        # A cluster without DNS is no obstacle.
        return [each["message"] for each in ours if each["reason"] != "MissingClusterDNS"]

    def forget_warnings(self) -> None:
        """Delete all events."""
        self.client.request("DELETE", EVENTS, REQUEST_SECONDS)

    def _get(self, path: str) -> dict[str, Any]:
        status, answer = self.client.get(path, REQUEST_SECONDS)
        found: dict[str, Any] = json.loads(answer) if status == 200 else {}
        return found


def toml(settings: Mapping[str, str]) -> str:
    """Lines of a TOML table; values are written as they are."""
    return "\n".join(f"{name} = {value}" for name, value in settings.items())


def trace_steps() -> Iterator[AnyStep]:
    """Mount memory where upstream's programs leave traces."""
    for path in TRACES:
        yield from in_memory(path)


def in_memory(path: str) -> tuple[AnyStep, ...]:
    """A directory, made if it is not there, with memory mounted on it."""
    return (
        MakeDirectory(path=path, because="traces"),
        MountFileSystem(target=path, kind="tmpfs", private=True, because="traces"),
    )


def answers(path: Path) -> bool:
    """Whether somebody listens on a unix socket."""
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(str(path))
        except OSError:
            return False
        return True
