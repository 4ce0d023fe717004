"""Objects for tests, as short as a test wants to read them."""

from __future__ import annotations

from typing import Any

from tests.harness.images import SHELL
from tests.scenario.cluster import Object


def container(*command: str, name: str = "main", image: str = SHELL.name, **fields: Any) -> Object:
    """A container; without a command it does what its image does."""
    given = {"command": list(command)} if command else {}
    return {"name": name, "image": image, **given, **fields}


def script(text: str, name: str = "main", **fields: Any) -> Object:
    """A container that runs a shell script."""
    return container("bash", "-euc", text, name=name, **fields)


def pod(name: str, *containers: Object, metadata: Object | None = None, **specification: Any) -> Object:
    """A pod that ends within a second of being told to; without containers it waits for that."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, **(metadata or {})},
        "spec": specified(*containers, **specification),
    }


def workload(kind: str, name: str, *containers: Object, **specification: Any) -> Object:
    """A Deployment, StatefulSet or DaemonSet, whose pods have the label `app` with its name."""
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": specified(*containers)},
            **specification,
        },
    }


def job(name: str, *containers: Object, **specification: Any) -> Object:
    """A Job that does not try again."""
    template = {"spec": specified(*containers, restartPolicy="Never")}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {"backoffLimit": 0, "template": template, **specification},
    }


def specified(*containers: Object, **specification: Any) -> Object:
    """A pod's specification."""
    return {"terminationGracePeriodSeconds": 1, "containers": list(containers) or [container()], **specification}


def settings(kind: str, name: str, **values: str) -> Object:
    """A ConfigMap or Secret."""
    return {
        "apiVersion": "v1",
        "kind": kind,
        "metadata": {"name": name},
        "data" if kind == "ConfigMap" else "stringData": values,
    }
