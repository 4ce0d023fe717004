"""Experiment 08: a node on interception and FUSE alone, without the mounts that gVisor offers."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any

from kins.cluster import store
from kins.cluster.api import ApiClient
from kins.experiments.context import Context, Timed
from kins.experiments.model import Excerpt, Experiment, Findings, Measurement
from kins.experiments.needs import FUSE, GVISOR, INTERCEPTION, ROOT
from kins.experiments.plots import keep_plots
from kins.soak.document import facts
from kins.soak.report import SoakReport, kept_up, slope_text
from kins.soak.watch import SoakSpec, soak

NAME = "layers"
UP = ("up", NAME, "--level", "node", "--with", "intercept,cgroupfs", "--kubelet", "stock")
READY_SECONDS = 30.0
REQUEST_SECONDS = 30.0
LAST_LINES = 8


def run(context: Context) -> Findings:
    """Bring the node up, watch it, and ask it for its figures."""
    context.undoing.callback(context.kins, "down", NAME)
    came_up = up(context)
    answer = json.loads(came_up.done.stdout or "{}")
    if not answer.get("ok"):
        return refused(came_up, answer.get("error", {}))
    ready = next((event["seconds"] for event in answer["result"]["events"] if event["phase"] == "node"), None)
    context.tell(f"node Ready after {ready} s")
    observed = soak(SoakSpec(name=NAME, seconds=60 * context.minutes), context.tell)
    keep_plots(context, observed)
    report = observed.report
    figures = node_figures()
    demands = demanded(ready, report, figures)
    failed = [what for what, met in demands.items() if not met]
    growth = ", ".join(f"{each.subject} {each.quantity} {slope_text(each)}" for each in growing(report))
    measurements = [
        Measurement(name="node Ready after", value=f"{ready} s"),
        *(Measurement(name=f"demand: {what}", value="met" if met else "not met") for what, met in demands.items()),
        Measurement(name="growth", value=growth or without_growth(report)),
        Measurement(name="the node's own figures", value=figures.text),
        *(Measurement(name=f"watch: {name}", value=value) for name, value in facts(report)),
    ]
    return Findings(
        verdict="refuted" if failed else "confirmed",
        conclusion=f"With interception and FUSE in the place of mounts the node was Ready after {ready} s; of "
        f"{len(demands)} demands {len(demands) - len(failed)} were met in {context.minutes:g} minutes"
        + (f", not: {'; '.join(failed)}." if failed else "."),
        measurements=tuple(measurements),
        soak=report,
    )


def up(context: Context) -> Timed:
    """Bring the node up."""
    began = time.monotonic()
    done = context.kins(*UP, "--output", "json")
    return Timed(done, time.monotonic() - began)


def refused(came_up: Timed, error: dict[str, Any]) -> Findings:
    """What there is to say when no node came up."""
    lines = (came_up.done.stdout + came_up.done.stderr).splitlines()
    message = f"{error.get('code', 'no code')}: {error.get('message', 'no word')}"
    return Findings(
        verdict="refuted",
        conclusion=f"No node came up within {came_up.seconds:.0f} s: {message}",
        measurements=(Measurement(name="command", value=f"kins {' '.join(UP)}"),),
        excerpts=(Excerpt(source="what it said", lines=tuple(lines[-LAST_LINES:])),),
    )


def growing(report: SoakReport) -> list[Any]:
    """The figures that grow."""
    return [each for each in report.trends if each.verdict == "growing"]


def is_judged(report: SoakReport) -> bool:
    """Whether the watch was long enough to say what grows."""
    return any(each.verdict != "too-short" for each in report.trends)


def without_growth(report: SoakReport) -> str:
    """What to say when nothing is seen to grow."""
    return "nothing grows" if is_judged(report) else "too short a watch to say"


def demanded(ready: float | None, report: SoakReport, figures: NodeFigures) -> dict[str, bool]:
    """What was demanded of the node, and whether it was met."""
    assert report.node is not None, "it has a node"
    assert report.churn is not None, "a load was asked for"
    demands = {
        f"Ready within {READY_SECONDS:g} s": ready is not None and ready <= READY_SECONDS,
        "Ready without a break": report.node.ready_at_end and not report.node.breaks,
        "no component restarted": not report.restarts,
        "no line of the cache error": report.memory_cache_errors == 0,
        "pods come and go": not report.churn.failures and report.churn.starts > 0,
        "as quickly as they were asked for": kept_up(report.churn),
        "the node's figures can be read": figures.readable,
    }
    # A short watch says nothing about it.
    return {**demands, "nothing grows": not growing(report)} if is_judged(report) else demands


@dataclass(frozen=True)
class NodeFigures:
    """What the kubelet says of its node, or why that cannot be had."""

    readable: bool
    text: str


def node_figures() -> NodeFigures:
    """The node's figures from the kubelet's /stats/summary, by way of the API server."""
    files = store.existing(NAME)
    record = store.record(files)
    assert record is not None, "it was just made"
    path = f"/api/v1/nodes/{record.settings.node_name}/proxy/stats/summary"
    try:
        status, body = ApiClient(files, record.settings).get(path, REQUEST_SECONDS)
    except OSError as error:
        return NodeFigures(False, f"no answer: {error}")
    if status != 200:
        return NodeFigures(False, f"HTTP {status}: {body.decode(errors='replace')[:200]}")
    return read_summary(json.loads(body)["node"])


def read_summary(node: dict[str, Any]) -> NodeFigures:
    """The node of a summary (k8s.io/kubelet/pkg/apis/stats/v1alpha1)."""
    memory, cpu = node.get("memory", {}).get("workingSetBytes"), node.get("cpu", {}).get("usageNanoCores")
    missing = [name for name, value in (("memory", memory), ("cpu", cpu)) if value is None]
    if missing:
        return NodeFigures(False, f"without figures of: {', '.join(missing)}")
    disk = node.get("fs", {}).get("capacityBytes", 0)
    text = f"{cpu / 1e9:.2f} cores, {memory / 2**30:.1f} GiB in use, disk of {disk / 2**30:.0f} GiB"
    return NodeFigures(True, text)


EXPERIMENT = Experiment(
    number="08",
    name="all-layers",
    title="All layers together, without mounts",
    hypothesis="With a tracer, another statfs and control groups in FUSE together, a stock kubelet is Ready within "
    "30 s and stays so, with figures that can be read and without a part that grows.",
    method="`kins up --level node --with intercept,cgroupfs --kubelet stock`: the mounts of control groups and of "
    "kernel settings, which gVisor offers and a default node uses, are left out on purpose. Then `kins soak` "
    "watches it, and the kubelet is asked for its statistics.",
    reported="Written and never validated. It was expected to hold for more than 60 minutes.",
    run=run,
    needs=(ROOT, GVISOR, INTERCEPTION, FUSE),
)
