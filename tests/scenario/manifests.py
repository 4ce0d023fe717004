"""Objects for tests, as short as a test wants to read them."""

from __future__ import annotations

from typing import Any

from tests.harness.images import NGINX, REDIS, SHELL
from tests.scenario.cluster import Object

__all__ = ["NGINX", "REDIS", "SHELL", "container", "labelled", "pod", "template"]


def container(*command: str, image: str = SHELL.name, name: str = "main", **fields: Any) -> Object:
    """A container; without a command it does what its image does."""
    given = {"command": list(command)} if command else {}
    return {"name": name, "image": image, **given, **fields}


def pod(name: str, *containers: Object, labels: dict[str, str] | None = None, **specification: Any) -> Object:
    """A pod that ends within a second of being told to. Its label `app` is its name."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name, **(labels or {})}},
        "spec": specified(*containers, **specification),
    }


def template(name: str, *containers: Object, **specification: Any) -> Object:
    """The same as a template of a workload."""
    return {"metadata": {"labels": {"app": name}}, "spec": specified(*containers, **specification)}


def specified(*containers: Object, **specification: Any) -> Object:
    """A pod's specification; the image's own command if there is nothing else to run."""
    return {"terminationGracePeriodSeconds": 1, "containers": list(containers) or [container()], **specification}


def labelled(api_version: str, kind: str, name: str, **specification: Any) -> Object:
    """A workload that selects pods by the label `app`, its name."""
    selector = {} if kind in ("Job", "CronJob") else {"selector": {"matchLabels": {"app": name}}}
    return {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {"name": name},
        "spec": {**selector, **specification},
    }
