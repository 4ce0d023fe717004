"""etcd: the store."""

from __future__ import annotations

from kins.components.environment import component_environment
from kins.components.layout import ENGINE, Layout
from kins.components.settings import Settings
from kins.supervise import Component


def etcd(layout: Layout, settings: Settings) -> Component:
    """etcd on a unix socket in the cluster's directory, which also guards who may talk to it.

    `--unsafe-no-fsync`: what a killed process wrote is in the page cache; only a crash of the machine itself can lose
    it, and no sandbox outlives that.
    """
    # Members that do not exist are spoken to by an URL that is never used. The listener is a unix socket, of whose URL
    # etcd takes the host as a path, which then has no slash: hence the directory. (Without a host the kernel gives the
    # socket an abstract name, but not a gVisor of 2022.)
    peer = "http://127.0.0.1:2380"
    return Component(
        name="etcd",
        argv=(
            str(ENGINE),
            "etcd",
            f"--name={settings.name}",
            f"--data-dir={layout.etcd_data}",
            "--unsafe-no-fsync",
            f"--listen-client-urls=unix://{layout.etcd_socket}",
            "--advertise-client-urls=http://127.0.0.1:2379",
            f"--listen-peer-urls=unix://{layout.etcd_peer_socket.name}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster={settings.name}={peer}",
            # A single member elects itself, but only after an election time-out: 0.9 s with upstream's 1000 ms. A
            # shorter heartbeat would cost more in gVisor for as long as the cluster lives: 13 % of a core at 20 ms.
            "--heartbeat-interval=50",
            "--election-timeout=250",
            "--log-level=warn",
            *settings.extra("etcd"),
        ),
        environment=component_environment(layout.directory),
        launcher=("sh", "-c", 'cd "$0" && exec "$@"', str(layout.etcd_peer_socket.parent)),
        log=layout.log("etcd"),
        readiness="notify",
        stop_rank=3,
    )
