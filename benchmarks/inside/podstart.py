"""Starts of pods in a cluster that is up: from the request to Running, as its user sees it through the API."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from benchmarks.inside.api import Access, Client, TimeIsUp, is_running, pause_pod
from benchmarks.inside.clusters import Cluster, kins

PODS = "/api/v1/namespaces/default/pods"
# For one pod to come or to go.
POD_SECONDS = 60.0
UP_SECONDS = 120.0


class Observer:
    """Follows all pods of the benchmark by one watch, and remembers when each ran and when each was gone."""

    def __init__(self, access: Access) -> None:
        self._client = Client(access)
        self._changed = threading.Condition()
        self._running: dict[str, float] = {}
        self._gone: dict[str, float] = {}
        threading.Thread(target=self._follow, daemon=True).start()

    def running(self, name: str) -> float:
        """When the API first said that the pod runs, waiting for it."""
        return self._wait(self._running, name)

    def gone(self, name: str) -> float:
        """When the API said that the pod is deleted, waiting for it."""
        return self._wait(self._gone, name)

    def _wait(self, moments: dict[str, float], name: str) -> float:
        with self._changed:
            if not self._changed.wait_for(lambda: name in moments, timeout=POD_SECONDS):
                raise TimeIsUp(f"pod {name} did not come or go")
            return moments[name]

    def _follow(self) -> None:
        while True:
            try:
                for kind, pod in self._client.watch(PODS, labelSelector="benchmark=pause"):
                    self._note(kind, pod)
            except OSError:
                time.sleep(1.0)  # the waits have a limit of their own

    def _note(self, kind: str, pod: dict[str, Any]) -> None:
        now, name = time.monotonic(), pod["metadata"]["name"]
        with self._changed:
            if kind == "DELETED":
                self._gone.setdefault(name, now)
            elif is_running(pod):
                self._running.setdefault(name, now)
            self._changed.notify_all()


class Pods:
    """Creates and deletes pause pods."""

    def __init__(self, access: Access, image: str) -> None:
        self._client = Client(access)
        self._image = image
        self._observer = Observer(access)

    def one_after_another(self, count: int, prefix: str = "single") -> dict[str, list[float]]:
        """Seconds from create to Running and from delete to gone; each pod is gone before the next one is created."""
        started, ended = [], []
        for number in range(count):
            name = f"{prefix}-{number}"
            began = self._create(name)
            started.append(round(self._observer.running(name) - began, 3))
            began = self._delete(name)
            ended.append(round(self._observer.gone(name) - began, 3))
        return {"running": started, "gone": ended}

    def at_once(self, count: int) -> dict[str, list[float]]:
        """The same for pods that are created without waiting, and `all`: from the first create to the last Running."""
        names = [f"together-{number}" for number in range(count)]
        began = {name: self._create(name) for name in names}
        running = {name: self._observer.running(name) for name in names}
        deleted = {name: self._delete(name) for name in names}
        gone = {name: self._observer.gone(name) for name in names}
        return {
            "running": [round(running[name] - began[name], 3) for name in names],
            "all": [round(max(running.values()) - min(began.values()), 3)] if names else [],
            "gone": [round(gone[name] - deleted[name], 3) for name in names],
        }

    def _create(self, name: str) -> float:
        return self._asked("POST", PODS, pause_pod(name, self._image))

    def _delete(self, name: str) -> float:
        # The grace that kubectl gives as well where nothing else is said; the pause program ends at once when told.
        return self._asked("DELETE", f"{PODS}/{name}")

    def _asked(self, method: str, path: str, content: Any = None) -> float:
        """Make a request that must succeed; returns the moment before it."""
        began = time.monotonic()
        status, answer = self._client.request(method, path, content)
        if status >= 300:
            raise RuntimeError(f"{method} {path}: HTTP {status}: {answer}")
        return began


def measure(image: str, single: int, together: int) -> dict[str, Any]:
    """Bring a cluster up, start pods, remove the cluster."""
    cluster = kins("node")
    try:
        run(cluster.create, cluster)
        pods = Pods(Access(cluster.kubeconfig), image)
        # Not counted: the node's first pod also makes what the others find made.
        pods.one_after_another(1, "uncounted")
        return {"one after another": pods.one_after_another(single), "at once": pods.at_once(together)}
    finally:
        run(cluster.delete, cluster)


def run(command: list[str], cluster: Cluster) -> None:
    """Run a command that must succeed."""
    done = subprocess.run(
        command,
        env={**os.environ, **cluster.variables},
        capture_output=True,
        text=True,
        timeout=UP_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{command}: exit {done.returncode}\n{done.stdout}{done.stderr}")


def main() -> None:
    """Measure starts of pods and print the figures as JSON."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--engine", type=Path, required=True, help="the program kins-engine")
    parser.add_argument("--single", type=int, required=True, help="pods one after another")
    parser.add_argument("--together", type=int, required=True, help="pods at once")
    options = parser.parse_args()
    image = json.loads((options.engine.parent / "versions.json").read_text())["pause-image"]
    json.dump(measure(image, options.single, options.together), sys.stdout)


if __name__ == "__main__":
    main()
