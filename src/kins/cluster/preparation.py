"""The files that components read, written before they start: certificates, kubeconfigs, configurations."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from kins import kubeconfig, pki
from kins.cluster.kubelet_view import kubelet_view
from kins.cluster.spec import KubeletDecision, Record
from kins.components import (
    Layout,
    Settings,
    containerd,
    coredns,
    kubelet,
    metrics_server,
    provisioner,
    service_proxy,
)
from kins.components.environment import SYSTEM_PATH
from kins.images.credentials import configuration_file
from kins.network import cni
from kins.plan import launcher

API_SERVER_NAMES = (
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
)
# Identity, common name and organisations as upstream's kubeadm gives them (kubernetes.io: PKI certificates and
# requirements).
CLIENTS = (
    ("admin", "kubernetes-admin", ("system:masters",)),
    ("kube-apiserver-kubelet-client", "kube-apiserver-kubelet-client", ("system:masters",)),
    ("kube-controller-manager", "system:kube-controller-manager", ()),
    ("kube-scheduler", "system:kube-scheduler", ()),
    ("provisioner", provisioner.USER, ()),
)
WITH_KUBECONFIG = ("kube-controller-manager", "kube-scheduler", "provisioner")


def prepare_control_plane(files: Layout, settings: Settings) -> None:
    """Certificates and client configurations of the control plane, and the administrator's kubeconfig."""
    authority = pki.Authority.open(files.pki, "ca")
    front_proxy = pki.Authority.open(files.pki, "front-proxy-ca")
    pki.create_signing_key(files.pki, "sa")
    for name, common_name, organizations in CLIENTS:
        authority.issue(name, common_name, organizations)
    front_proxy.issue("front-proxy-client", "front-proxy-client")
    authority.issue(
        "kube-apiserver",
        "kube-apiserver",
        dns_names=API_SERVER_NAMES,
        ip_addresses=("127.0.0.1", settings.node_address, settings.api_service_address),
    )
    for name in WITH_KUBECONFIG:
        _write_client_configuration(files, settings, name, files.client_configuration(name))
    _write_client_configuration(files, settings, "admin", files.kubeconfig)


def prepare_node(files: Layout, record: Record, chosen: KubeletDecision, pause_image: str) -> None:
    """What containerd, the CNI plugin, the kubelet, the proxy for Services and CoreDNS read."""
    settings = record.settings
    authority = pki.Authority.open(files.pki, "ca")
    authority.issue("kubelet-client", f"system:node:{settings.node_name}", ("system:nodes",))
    authority.issue(
        "kubelet",
        settings.node_name,
        dns_names=(settings.node_name,),
        ip_addresses=(settings.node_address, "127.0.0.1"),
    )
    authority.issue("service-proxy", service_proxy.USER)
    _write_client_configuration(files, settings, "kubelet-client", files.client_configuration("kubelet"))
    _write_client_configuration(files, settings, "service-proxy", files.client_configuration("service-proxy"))
    authority.issue(
        "metrics-server",
        metrics_server.USER,
        dns_names=(metrics_server.HOST,),
        ip_addresses=(settings.node_address,),
    )
    _write_client_configuration(files, settings, "metrics-server", files.client_configuration("metrics-server"))
    containerd.configuration_file(files).write_text(
        containerd.configuration(files, record.decisions.snapshotter, pause_image)
    )
    _write_json(files.cni_configuration / cni.FILE_NAME, _pod_network(files, record))
    resolver = resolver_file(files)
    _write_json(
        kubelet.configuration_file(files),
        kubelet.configuration(
            files,
            settings,
            chosen.kind,
            f"/{control_group_name(record)}",
            resolver,
            collects_images=record.decisions.images_on == "tmpfs",
        ),
    )
    _link_credentials(files)
    if record.decisions.images_on == "tmpfs":
        _empty_image_content(files)
    _write_view(files, record, chosen)
    resolver.write_text(_resolver_text(settings))
    authority.issue("coredns", coredns.USER)
    _write_client_configuration(files, settings, "coredns", files.client_configuration("coredns"))
    coredns.configuration_file(files).write_text(coredns.configuration(files, settings, record.decisions.resolvers))


def _pod_network(files: Layout, record: Record) -> dict[str, Any]:
    """The CNI configuration. No pod is there yet: what lies in the relay's directory is of a cluster that crashed."""
    shutil.rmtree(files.egress, ignore_errors=True)
    if not record.decisions.egress:
        return cni.configuration(files.addresses)
    files.egress.mkdir(mode=0o700)
    return cni.configuration(files.addresses, files.egress)


def _resolver_text(settings: Settings) -> str:
    """A resolv.conf(5) with the sandbox's search domains and options, if it has one, and the cluster's DNS server.

    That one asks the sandbox's own resolvers. Pods could not when they listen on loopback, and containerd fails a pod
    that has no nameserver where the sandbox has no /etc/resolv.conf.
    """
    try:
        lines = Path("/etc/resolv.conf").read_text().splitlines()
    except FileNotFoundError:
        lines = []
    kept = [line for line in lines if line.split()[:1] != ["nameserver"]]
    return "\n".join([f"nameserver {settings.dns_address}", *kept, ""])


def _empty_image_content(files: Layout) -> None:
    """Remove the compressed layers and BuildKit's cache of an earlier life, whose records were in memory."""
    shutil.rmtree(files.builder, ignore_errors=True)
    shutil.rmtree(files.image_content)
    files.image_content.mkdir(mode=0o700)


def _link_credentials(files: Layout) -> None:
    """Let the kubelet pull with what `docker login` wrote, now or later: it reads the file every five minutes."""
    link = kubelet.credentials_file(files)
    link.unlink(missing_ok=True)
    link.symlink_to(configuration_file())


def _write_view(files: Layout, record: Record, chosen: KubeletDecision) -> None:
    """What the kubelet's own mount namespace needs; a recovered cluster may have had one before."""
    kubelet.view_file(files).unlink(missing_ok=True)
    if not chosen.view:
        return
    launcher.write(kubelet.view_file(files), kubelet_view(files, control_group_name(record)))
    kubelet.programs(files).mkdir(exist_ok=True)
    lazy = kubelet.programs(files) / "umount"
    lazy.write_text(kubelet.LAZY_UNMOUNT.format(path=SYSTEM_PATH))
    lazy.chmod(0o755)


def resolver_file(files: Layout) -> Path:
    """The resolv.conf that the kubelet knows: whole for pods with dnsPolicy Default, else its search domains."""
    return files.configuration / "resolv.conf"


def control_group_name(record: Record) -> str:
    """The control group below which all pods run; unique on the machine, because groups outlive namespaces."""
    return f"kins-{record.spec.name}-{record.identity}"


def administrator(files: Layout, settings: Settings) -> kubeconfig.Entry:
    """The cluster as a kubeconfig entry for its user."""
    return _entry(files, settings, "admin")


def _entry(files: Layout, settings: Settings, identity: str) -> kubeconfig.Entry:
    return kubeconfig.Entry(
        name=f"kins-{settings.name}",
        server=settings.api_url,
        certificate_authority_data=Path(files.certificate("ca")).read_bytes(),
        client_certificate_data=Path(files.certificate(identity)).read_bytes(),
        client_key_data=Path(files.key(identity)).read_bytes(),
    )


def _write_client_configuration(files: Layout, settings: Settings, identity: str, path: Path) -> None:
    kubeconfig.write_private(path, kubeconfig.dump(kubeconfig.build(_entry(files, settings, identity))))


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")
