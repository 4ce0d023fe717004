"""Where a cluster's files are."""

from __future__ import annotations

from pathlib import Path

BINARIES = Path(__file__).resolve().parent.parent / "_bin"
ENGINE = BINARIES / "kins-engine"


class Layout:
    """The paths below a cluster's directory. Everything that a cluster writes is here, but for the kubeconfig entry."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.record = directory / "cluster.json"
        self.facts = directory / "facts.json"
        self.journal = directory / "journal.jsonl"
        self.supervisor = directory / "supervisor.json"
        self.outside = directory / "outside.json"
        self.stopped = directory / "stopped"
        self.supervisor_log = directory / "logs" / "supervisor.log"
        self.kubeconfig = directory / "kubeconfig"
        self.kubectl_cache = directory / "kubectl-cache"
        self.pki = directory / "pki"
        self.configuration = directory / "config"
        self.logs = directory / "logs"
        self.runtime = directory / "run"
        self.temporary = directory / "tmp"
        self.etcd_data = directory / "etcd"
        self.images = directory / "images"
        self.registry = directory / "registry"
        self.builder = directory / "buildkit"
        self.image_content = directory / "image-content"
        self.containerd_root = directory / "containerd"
        self.kubelet_root = directory / "kubelet"
        self.pod_logs = directory / "pod-logs"
        self.volumes = directory / "volumes"
        self.addresses = directory / "addresses"
        self.cni_configuration = self.configuration / "cni"
        self.control_socket = self.runtime / "supervisor.sock"
        self.etcd_socket = self.runtime / "etcd.sock"
        self.etcd_peer_socket = self.runtime / "etcd-peer.sock"
        self.containerd_socket = self.runtime / "containerd.sock"
        self.forwarding_socket = self.runtime / "forwarding.sock"
        self.builder_socket = self.runtime / "buildkitd.sock"
        # Where steps send traces; BuildKit makes it, whether anybody asks for traces or not.
        self.builder_traces = self.runtime / "buildkitd-traces.sock"
        self.builder_lock = self.runtime / "buildkitd.lock"
        self.control_groups_state = self.runtime / "cgroupfs.json"
        self.interception_rules = self.configuration / "intercept.json"
        self.outer_resolvers = self.configuration / "outer-resolv.conf"
        self.shared_pods = self.configuration / "shared-pods"
        self.egress = self.runtime / "egress"
        self.outside_socket = self.runtime / "outside.sock"
        self.kernel_settings = self.runtime / "proc-sys"
        self.covered = self.runtime / "covered"

    def log(self, component: str) -> Path:
        """The log of a component."""
        return self.logs / f"{component}.log"

    def certificate(self, name: str) -> str:
        """The certificate file of an identity."""
        return str(self.pki / f"{name}.crt")

    def key(self, name: str) -> str:
        """The private key file of an identity."""
        return str(self.pki / f"{name}.key")

    def client_configuration(self, name: str) -> Path:
        """The kubeconfig of a component."""
        return self.configuration / f"{name}.kubeconfig"

    def directories(self) -> tuple[Path, ...]:
        """The directories that the components expect, for their owner only."""
        return (
            self.directory,
            self.pki,
            self.configuration,
            self.cni_configuration,
            self.logs,
            self.runtime,
            self.temporary,
            self.images,
            self.registry,
            self.image_content,
            self.containerd_root,
            self.kubelet_root,
            self.pod_logs,
            self.volumes,
            self.addresses,
        )

    def make_directories(self) -> None:
        """Make them, as far as they are not there."""
        for path in self.directories():
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Pods of any user read the volumes below it, which are bind mounts of directories here.
        self.kubelet_root.chmod(0o755)
