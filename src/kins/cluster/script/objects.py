"""Objects of the API server in a script."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from kins import kubeconfig
from kins.cluster.cluster_plan import ClusterPlan
from kins.components import metrics_server
from kins.components.objects import ApiObject
from kins.network import proxy
from kins.plan import shell

# As the supervisor makes them: the fields named here, whoever had them before.
APPLY = "kubectl apply --server-side --force-conflicts --field-manager=kins --filename="


def api_objects(component: str, objects: Iterable[ApiObject]) -> str:
    """What a component needs."""
    text = _documents(each.content for each in objects)
    return f"# {component}\n{_applied(text)}"


def metrics_registration(plan: ClusterPlan) -> str:
    """The registration of the metrics API, which holds the certificate of the authority."""
    content = metrics_server.api_service(shell.base64_of(plan.files.certificate("ca"))).content
    return f"# metrics-server\n{_applied(_documents([content]), expands=True)}"


def proxy_maps() -> str:
    """What pods that ask are told of the proxy, in the namespaces that are there; kins does so in later ones too."""
    file = '"$CLUSTER/config/proxy.yaml"'
    return "\n".join(
        [
            "# for pods that ask for the proxy",
            shell.here_document(f"cat > {file}", _documents(proxy.config_maps(os.environ))),
            "kubectl get namespaces --output=name | while read -r namespace; do",
            f'    {APPLY}{file} --namespace="${{namespace#*/}}"',
            "done",
        ]
    )


def _applied(documents: str, *, expands: bool = False) -> str:
    return shell.here_document(f"{APPLY}-", documents, expands=expands)


def _documents(contents: Iterable[dict[str, Any]]) -> str:
    return "---\n".join(kubeconfig.dump(each).decode() for each in contents)
