"""Experiment 05: a CNI plugin that does nothing."""

from __future__ import annotations

import json
import socket
import time

from kins.cluster.cluster import Cluster
from kins.cluster.spec import ClusterSpec
from kins.experiments.blockers import Blocker, overcome
from kins.experiments.context import Context
from kins.experiments.cures import KNOWN, replaced
from kins.experiments.model import Experiment, Findings, Measurement
from kins.experiments.needs import GVISOR, ROOT
from kins.experiments.stock_worker import blockers, reasons
from kins.experiments.watching import measured, watch
from kins.experiments.worker import Worker

ADDRESS = "10.42.0.2"
# Answers as the CNI specification 1.0.0 wants it, and touches nothing.
PLUGIN = f"""\
#!/bin/sh
cat > /dev/null
case "$CNI_COMMAND" in
ADD) echo '{{"cniVersion":"1.0.0","ips":[{{"address":"{ADDRESS}/16"}}]}}' ;;
VERSION) echo '{{"cniVersion":"1.0.0","supportedVersions":["1.0.0"]}}' ;;
esac
"""
CONFIGURATION = {"cniVersion": "1.0.0", "name": "nothing", "plugins": [{"type": "nothing"}]}
CONNECT_SECONDS = 3.0


def fake_network(worker: Worker) -> None:
    """Write the plugin and its configuration."""
    plugin = worker.directory / "cni-plugins" / "nothing"
    plugin.write_text(PLUGIN)
    plugin.chmod(0o755)
    (worker.directory / "cni" / "10-nothing.conflist").write_text(json.dumps(CONFIGURATION))


FAKE = "a plugin that answers every request and does nothing"


def run(context: Context) -> Findings:
    """A control plane with no plugin at all, then a worker with one that does nothing."""
    began = time.monotonic()
    alone, _ = Cluster.up(ClusterSpec(name="alone", level="control-plane"))
    seconds = time.monotonic() - began
    alone.down()
    worker = Worker(context)
    worker.prepare()
    known: dict[str, Blocker] = replaced(KNOWN, "pod network", fake_network, FAKE)
    course = overcome(worker, known)
    measurements = [Measurement(name="control plane without any plugin, ready after", value=f"{seconds:.1f} s")]
    measurements += blockers(course)
    if not course.works:
        return Findings(
            verdict="failed",
            conclusion="No pod ran with the plugin that does nothing.",
            measurements=tuple(measurements),
            excerpts=reasons(course),
        )
    address = worker.pod()["status"]["podIP"]
    answer = connection(address)
    measurements += [
        Measurement(name="address that the pod is said to have", value=address),
        Measurement(name="TCP connection to it", value=answer),
        *measured(watch(worker, context.minutes)),
    ]
    return Findings(
        verdict="refuted",
        conclusion=f"The control plane needs no CNI plugin: it was ready after {seconds:.1f} s without one. A "
        "worker needs one to be Ready, and one that does nothing suffices for that: pods run, and have no network "
        f"({answer}).",
        measurements=tuple(measurements),
        excerpts=reasons(course),
    )


def connection(address: str) -> str:
    """What becomes of a connection to a pod that has nothing listening: refused, if it has a network at all."""
    try:
        socket.create_connection((address, 80), CONNECT_SECONDS).close()
    except OSError as error:
        return str(error)
    return "accepted"


EXPERIMENT = Experiment(
    number="05",
    name="fake-network",
    title="A fake CNI plugin with the control plane",
    hypothesis="The control plane needs a CNI plugin to start, and one that does nothing is enough.",
    method="A control plane is started with no plugin anywhere. Then a stock worker is brought up as in experiment "
    "02, with a plugin that answers each request and does nothing; a pod runs, and its address is tried.",
    reported="k3s asked for CNI plugins even with its agent disabled; a script in their place made its control "
    "plane start. This was called the breakthrough.",
    run=run,
    needs=(ROOT, GVISOR),
)
