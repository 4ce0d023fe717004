"""Workloads to their ends."""

from __future__ import annotations

from tests.scenario.cluster import Cluster, Object
from tests.scenario.manifests import NGINX, container, labelled, template


def test_deployment(cluster: Cluster) -> None:
    """Scaled up and down, and rolled over to another template until nothing of the old one is left."""

    def deployment(replicas: int, version: str) -> Object:
        server = container(image=NGINX.name, env=[{"name": "VERSION", "value": version}])
        return labelled("apps/v1", "Deployment", "web", replicas=replicas, template=template("web", server))

    cluster.apply(deployment(1, "old"))
    cluster.roll_out("deployment/web")
    cluster.kubectl("scale", "deployment/web", "--replicas=3")
    cluster.roll_out("deployment/web")
    assert len(cluster.pods("app=web")) == 3
