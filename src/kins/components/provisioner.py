"""The provisioner: a directory for each claim of storage."""

from __future__ import annotations

from kins.components.environment import component_environment
from kins.components.layout import ENGINE, Layout
from kins.components.objects import ApiObject, cluster_rights, rule
from kins.components.settings import Settings
from kins.supervise import Component

USER = "kins:provisioner"
# As kind names its default class; charts ask for the default one, whatever its name.
STORAGE_CLASS = "standard"
# What the engine's applet answers to (engine/internal/provisioner).
PROVISIONER = "kins/directory"


def provisioner(layout: Layout, settings: Settings, *, node: bool) -> Component:
    """The engine's provisioner; without a node its volumes belong to none. Ready, by sd_notify(3), means that it has
    seen all claims."""
    return Component(
        name="provisioner",
        argv=(
            str(ENGINE),
            "provisioner",
            f"--kubeconfig={layout.client_configuration('provisioner')}",
            f"--directory={layout.volumes}",
            *((f"--node={settings.node_name}",) if node else ()),
            *settings.extra("provisioner"),
        ),
        environment=component_environment(layout.directory),
        log=layout.log("provisioner"),
        readiness="notify",
        needs=("kube-apiserver",),
        stop_rank=1,
    )


def objects(*, node: bool) -> tuple[ApiObject, ...]:
    """The default storage class, and what the provisioner may do: what upstream's library asks for, and no more.

    With a node a claim waits for its first pod, as charts expect it. Without one a claim which waits might wait for
    ever: it is bound at once.
    """
    storage_class = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {
            "name": STORAGE_CLASS,
            "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
        },
        "provisioner": PROVISIONER,
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "WaitForFirstConsumer" if node else "Immediate",
    }
    return (
        *cluster_rights(
            USER,
            rule("", "persistentvolumes", "get list watch create patch delete"),
            # To send a claim back to the scheduler that was placed on a node of somebody else.
            rule("", "persistentvolumeclaims", "get list watch update"),
            rule("storage.k8s.io", "storageclasses", "get list watch"),
            rule("", "events", "create patch update"),
            # To see whether the node is simulated on which a claim's pod is placed.
            rule("", "nodes", "get"),
        ),
        ApiObject(collection="/apis/storage.k8s.io/v1/storageclasses", content=storage_class, only_made=True),
    )
