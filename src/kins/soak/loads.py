"""What is made and removed again and again: pods where there is a node, Deployments where there is none.

A load is made of units, numbered from 0. All of a unit's pods have its number in a label.
"""

from __future__ import annotations

from typing import Any, Protocol

Object = dict[str, Any]

UNIT_LABEL = "kins.unit"
# Containers of a pod, or pods of a Deployment: what is counted as a start.
STARTS = 3


class Load(Protocol):
    """How a unit is made, when it counts as started, and how it is removed."""

    kind: str

    def collection(self, namespace: str) -> str:
        """Where a unit's object is created."""

    def unit(self, number: int) -> Object:
        """The object of a unit."""

    def is_started(self, pods: list[Object]) -> bool:
        """Whether the unit with these pods is where it should come to."""


class PodLoad:
    """Pods of several containers of the pause image, which is always there. Started: all containers run."""

    kind = "pods"

    def __init__(self, image: str) -> None:
        self._image = image

    def collection(self, namespace: str) -> str:
        return f"/api/v1/namespaces/{namespace}/pods"

    def unit(self, number: int) -> Object:
        metadata = {"name": unit_name(number), "labels": {UNIT_LABEL: str(number)}}
        return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod_specification(self._image)}

    def is_started(self, pods: list[Object]) -> bool:
        states = [status for pod in pods for status in pod.get("status", {}).get("containerStatuses", ())]
        return len(states) == STARTS and all("running" in status.get("state", {}) for status in states)


class DeploymentLoad:
    """Deployments whose pods are made by the controllers and looked at by the scheduler, which has no node for them."""

    kind = "deployments"

    def __init__(self, image: str) -> None:
        self._image = image

    def collection(self, namespace: str) -> str:
        return f"/apis/apps/v1/namespaces/{namespace}/deployments"

    def unit(self, number: int) -> Object:
        labels = {UNIT_LABEL: str(number)}
        template = {"metadata": {"labels": labels}, "spec": pod_specification(self._image, containers=1)}
        specification = {"replicas": STARTS, "selector": {"matchLabels": labels}, "template": template}
        metadata = {"name": unit_name(number)}
        return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": specification}

    def is_started(self, pods: list[Object]) -> bool:
        kinds = [each["type"] for pod in pods for each in pod.get("status", {}).get("conditions", ())]
        return kinds.count("PodScheduled") == STARTS


def unit_name(number: int) -> str:
    """The name of a unit's object."""
    return f"churn-{number}"


def pod_specification(image: str, containers: int = STARTS) -> Object:
    """A pod that does nothing and asks for nothing."""
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 5,
        "containers": [
            {"name": f"pause-{number}", "image": image, "imagePullPolicy": "IfNotPresent"}
            for number in range(containers)
        ],
    }
