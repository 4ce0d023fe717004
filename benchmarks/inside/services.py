"""What a Service costs: connections through one beside connections to the pod itself, and many Services at once."""

from __future__ import annotations

import argparse
import json
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.inside.api import Access, Client, TimeIsUp, pause_pod, until
from benchmarks.inside.clusters import kins
from benchmarks.inside.memory import PROC, program, pss, rss
from benchmarks.inside.podstart import POD_SECONDS, PODS, run

SERVICES = "/api/v1/namespaces/default/services"
SLICES = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
TRAFFIC_SECONDS = 300.0
PORT = 7000
# A change is looked for by connecting again and again; the pause is how exact the figure is.
LOOK_SECONDS = 0.002
CHANGES = 20
# Addresses of pods that there are not.
NOBODY = "10.42.200.{}"


class Api:
    """Requests that must succeed."""

    def __init__(self, access: Access) -> None:
        self._client = Client(access)

    def ask(self, method: str, path: str, content: Any = None) -> Any:
        """The answer's body."""
        status, answer = self._client.request(method, path, content)
        if status >= 300:
            raise RuntimeError(f"{method} {path}: HTTP {status}: {answer}")
        return answer


def traffic_pod(name: str, image: str, tool: Path, *arguments: str) -> dict[str, Any]:
    """A pod that runs the program `traffic` from the environment's own files."""
    pod = pause_pod(name, image)
    (container,) = pod["spec"]["containers"]
    container["command"] = ["/traffic", *arguments]
    container["volumeMounts"] = [{"name": "traffic", "mountPath": "/traffic"}]
    pod["spec"]["volumes"] = [{"name": "traffic", "hostPath": {"path": str(tool)}}]
    pod["spec"]["restartPolicy"] = "Never"
    return pod


def service(name: str) -> dict[str, Any]:
    """A Service without a selector, so that only the slices of this program are its endpoints."""
    port = {"port": 80, "targetPort": PORT}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {"ports": [port]}}


def endpoints(name: str, addresses: list[str]) -> dict[str, Any]:
    """The slice of a Service."""
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": name, "labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4",
        "ports": [{"port": PORT}],
        "endpoints": [{"addresses": [address]} for address in addresses],
    }


def address(api: Api, pod: str) -> str:
    """A pod's address, once it has one and runs."""

    def look() -> str | None:
        status = api.ask("GET", f"{PODS}/{pod}")["status"]
        return str(status["podIP"]) if status.get("phase") == "Running" else None

    return until(look, f"pod {pod}", time.monotonic() + POD_SECONDS)


def traffic(api: Api, image: str, tool: Path, rounds: int) -> dict[str, list[dict[str, float]]]:
    """The figures of each round from one pod to another: `direct`, and through a `service`, in turn."""
    api.ask("POST", PODS, traffic_pod("server", image, tool, "serve", str(PORT)))
    server = address(api, "server")
    through = api.ask("POST", SERVICES, service("traffic"))["spec"]["clusterIP"]
    api.ask("POST", SLICES, endpoints("traffic", [server]))
    answers(through)
    asked = [f"{server}:{PORT}", f"{through}:80"]
    api.ask("POST", PODS, traffic_pod("client", image, tool, "ask", str(rounds), *asked))

    def over() -> str | None:
        phase = api.ask("GET", f"{PODS}/client")["status"].get("phase")
        if phase == "Failed":
            raise RuntimeError(str(api.ask("GET", f"{PODS}/client/log")))
        return phase if phase == "Succeeded" else None

    until(over, "the client's end", time.monotonic() + TRAFFIC_SECONDS)
    said = api.ask("GET", f"{PODS}/client/log")
    lines = [said] if isinstance(said, dict) else [json.loads(line) for line in said.splitlines()]
    return {
        way: [line for line in lines if line["address"] == where]
        for way, where in zip(("direct", "service"), asked, strict=True)
    }


def answers(cluster_ip: str, *, wanted: bool = True) -> float:
    """The moment from which a Service accepts connections, or refuses them again."""
    deadline = time.monotonic() + POD_SECONDS
    while time.monotonic() < deadline:
        try:
            socket.create_connection((cluster_ip, 80), 5).close()
            accepted = True
        except OSError:
            accepted = False
        if accepted == wanted:
            return time.monotonic()
        time.sleep(LOOK_SECONDS)
    raise TimeIsUp(f"{cluster_ip} is not as it should be")


def proxy() -> dict[str, float]:
    """Memory (bytes) and descriptors of the proxy."""
    for entry in PROC.iterdir():
        arguments = (entry / "cmdline").read_text().split("\0") if entry.name.isdigit() else [""]
        if arguments[0] and program(arguments) == "service-proxy":
            memory = pss(entry) if (PROC / "self" / "smaps_rollup").exists() else rss(entry)
            return {"memory": memory, "descriptors": len(list((entry / "fd").iterdir()))}
    raise RuntimeError("there is no service-proxy")


def many(api: Api, count: int, each: int) -> dict[str, Any]:
    """So many Services with so many endpoints each, and how long a change of one of them then takes."""
    before = proxy()
    began = time.monotonic()
    addresses = [NOBODY.format(number + 2) for number in range(each)]
    made = []
    for number in range(count):
        made.append(api.ask("POST", SERVICES, service(f"many-{number}"))["spec"]["clusterIP"])
        api.ask("POST", SLICES, endpoints(f"many-{number}", addresses))
    posted = time.monotonic()
    last = answers(made[-1])
    after = proxy()
    return {
        "posted": round(posted - began, 3),
        "last in force after": round(last - posted, 3),
        "changes": [round(seconds, 4) for seconds in changes(api, made, addresses)],
        "before": before,
        "after": after,
    }


def changes(api: Api, made: list[str], addresses: list[str]) -> Iterator[float]:
    """Seconds from the request that takes a Service's endpoints away, and gives them back, until that is in force."""
    for number in range(min(CHANGES, len(made))):
        name, cluster_ip = f"many-{number}", made[number]
        for wanted, left in ((False, []), (True, addresses)):
            began = time.monotonic()
            api.ask("PUT", f"{SLICES}/{name}", endpoints(name, left))
            yield answers(cluster_ip, wanted=wanted) - began


def main() -> None:
    """Measure Services and print the figures as JSON."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--engine", type=Path, required=True, help="the program kins-engine")
    parser.add_argument("--tool", type=Path, required=True, help="the program traffic")
    parser.add_argument("--rounds", type=int, required=True, help="of traffic, direct and through a Service")
    parser.add_argument("--services", type=int, required=True, help="how many at once")
    parser.add_argument("--endpoints", type=int, required=True, help="of each of them")
    options = parser.parse_args()
    image = json.loads((options.engine.parent / "versions.json").read_text())["pause-image"]
    cluster = kins("node")
    try:
        run(cluster.create, cluster)
        api = Api(Access(cluster.kubeconfig))
        found = {
            "traffic": traffic(api, image, options.tool, options.rounds),
            "many": many(api, options.services, options.endpoints),
        }
    finally:
        run(cluster.delete, cluster)
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
