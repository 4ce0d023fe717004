"""One start of a cluster: when it reaches what, and what its programs need in memory."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.inside.api import Access, Client, TimeIsUp, is_ready, is_running, pause_pod, until
from benchmarks.inside.clusters import NODES, Cluster, kins, kwokctl
from benchmarks.inside.memory import memory

PODS = "/api/v1/namespaces/default/pods"
# Between the last milestone and the look at the memory.
SETTLE_SECONDS = 3.0
REPETITIONS = 5


class Start:
    """A cluster's start, watched from the outside while its command runs. `seconds` count from before its fork."""

    def __init__(self, cluster: Cluster, limit: float) -> None:
        self._cluster = cluster
        self.seconds: dict[str, float] = {}
        self._errors: list[str] = []
        self._output = ""
        self._began = time.monotonic()
        self._deadline = self._began + limit
        self._process = subprocess.Popen(
            cluster.create, env={**os.environ, **cluster.variables}, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def watch(self, image: str) -> str:
        """Wait until the command has ended and everything is reached; returns the command's output."""
        watching = self._together(self._command, lambda: self._answers(image))
        for thread in watching:
            thread.join()
        if self._errors:
            raise TimeIsUp("; ".join(self._errors))
        return self._output

    def _command(self) -> None:
        try:
            output, errors = self._process.communicate(timeout=self._deadline - time.monotonic())
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise
        self._reached("command")
        self._output = output.decode()
        if self._process.returncode != 0:
            # Nothing else will come any more.
            self._deadline = time.monotonic()
            raise TimeIsUp(f"{self._cluster.create}: {self._output}{errors.decode(errors='replace')}")

    def _answers(self, image: str) -> None:
        access = until(self._access, "the kubeconfig", self._deadline)
        client = Client(access)
        until(lambda: client.request("GET", "/version"), "an answer of the API server", self._deadline)
        self._reached("api")
        waits = [lambda: self._readyz(access), lambda: self._service_account(access, image)]
        if self._cluster.node:
            waits.append(lambda: self._node(access))
        for thread in self._together(*waits):
            thread.join()

    def _access(self) -> Access | None:
        try:
            return Access(self._cluster.kubeconfig)
        except (KeyError, ValueError):
            return None  # not yet written to its end

    def _readyz(self, access: Access) -> None:
        client = Client(access)
        until(lambda: client.request("GET", "/readyz")[0] == 200 or None, "readyz", self._deadline)
        self._reached("readyz")

    def _service_account(self, access: Access, image: str) -> None:
        self._object(access, "/api/v1/namespaces/default/serviceaccounts", "default", lambda _: True)
        self._reached("service-account")
        if self._cluster.node:
            client, pod = Client(access), pause_pod("first", image)
            # The API server hears of the account through a watch of its own, a moment later.
            until(lambda: client.request("POST", PODS, pod)[0] in (201, 409) or None, "a pod", self._deadline)
            self._reached("admitted")
            self._object(access, PODS, "first", is_running)
            self._reached("pod")

    def _node(self, access: Access) -> None:
        self._object(access, "/api/v1/nodes", self._cluster.node, is_ready)
        self._reached("node")

    def _object(self, access: Access, collection: str, name: str, wanted: Callable[[dict[str, Any]], bool]) -> None:
        client = Client(access)

        def watch_once() -> bool | None:
            events = client.watch(collection, fieldSelector=f"metadata.name={name}")
            return any(kind != "DELETED" and wanted(found) for kind, found in events) or None

        until(watch_once, f"{collection}/{name}", self._deadline)

    def _reached(self, milestone: str) -> None:
        self.seconds[milestone] = round(time.monotonic() - self._began, 3)

    def _together(self, *waits: Callable[[], None]) -> list[threading.Thread]:
        threads = [threading.Thread(target=self._guarded, args=(wait,), daemon=True) for wait in waits]
        for thread in threads:
            thread.start()
        return threads

    def _guarded(self, wait: Callable[[], None]) -> None:
        try:
            wait()
        except Exception as error:
            self._errors.append(f"{type(error).__name__}: {error}")


def measure(cluster: Cluster, image: str, limit: float) -> dict[str, Any]:
    """Start the cluster, look at it, remove it."""
    try:
        start = Start(cluster, limit)
        output = start.watch(image)
        time.sleep(SETTLE_SECONDS)
        found = memory()
        commands = {" ".join(command): timed(command, cluster) for command in cluster.commands}
    finally:
        began = time.monotonic()
        run(cluster.delete, cluster)
    return {
        "seconds": {**start.seconds, "delete": round(time.monotonic() - began, 3)},
        "memory": {"kind": found.kind, "bytes": found.programs},
        "commands": commands,
        "events": events(output),
    }


def events(output: str) -> dict[str, float]:
    """The moments that kins itself tells, from its own begin; empty for another cluster's command."""
    try:
        return {event["phase"]: event["seconds"] for event in json.loads(output)["result"]["events"]}
    except (ValueError, KeyError):
        return {}


def timed(command: list[str], cluster: Cluster) -> list[float]:
    """The wall times of a command, one run after another."""
    found = []
    for _ in range(REPETITIONS):
        began = time.monotonic()
        run(command, cluster)
        found.append(round(time.monotonic() - began, 3))
    return found


def run(command: list[str], cluster: Cluster) -> None:
    """Run a command that must succeed."""
    done = subprocess.run(
        command, env={**os.environ, **cluster.variables}, capture_output=True, text=True, timeout=120, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"{command}: exit {done.returncode}\n{done.stdout}{done.stderr}")


def main() -> None:
    """Measure one start and print the figures as JSON."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("cluster", choices=(*NODES, "kwokctl"))
    parser.add_argument("--engine", type=Path, required=True, help="the program kins-engine")
    parser.add_argument("--kwokctl", type=Path, help="the program kwokctl")
    parser.add_argument("--limit", type=float, default=120.0, help="seconds")
    options = parser.parse_args()
    image = json.loads((options.engine.parent / "versions.json").read_text())["pause-image"]
    cluster = kwokctl(options.kwokctl, options.engine) if options.cluster == "kwokctl" else kins(options.cluster)
    json.dump(measure(cluster, image, options.limit), sys.stdout)


if __name__ == "__main__":
    main()
