"""Experiment 02: a stock worker with no help."""

from __future__ import annotations

from kins.experiments.blockers import Course, overcome, shortened
from kins.experiments.context import Context
from kins.experiments.cures import KNOWN
from kins.experiments.model import Excerpt, Experiment, Findings, Measurement
from kins.experiments.needs import GVISOR, ROOT
from kins.experiments.watching import measured, watch
from kins.experiments.worker import Worker

LONGEST_REASON = 300


def run(context: Context) -> Findings:
    """Start it, and cure what stops it, one thing at a time."""
    worker = Worker(context)
    worker.prepare()
    course = overcome(worker, {each.name: each for each in KNOWN})
    measurements, excerpts = blockers(course), reasons(course)
    if not course.works:
        return Findings(
            verdict="failed",
            conclusion=f"{len(course.met)} blockers were met, and for the last one no cure is known.",
            measurements=measurements,
            excerpts=excerpts,
        )
    watched = watch(worker, context.minutes)
    names = [met.blocker.name for met in course.met if met.blocker is not None]
    cache = next((number for number, name in enumerate(names, 1) if name == "statistics of the root"), None)
    place = f"number {cache} of them" if cache else "none of them"
    steady = "was Ready without a break and ran every pod" if watched.steady else "did not stay well"
    return Findings(
        verdict="refuted",
        conclusion=f"{len(names)} blockers, each cured by a mount, a file or a setting; the cache error was {place} "
        f"and went with one file of the control groups, whatever the type of the root. The node then {steady}.",
        measurements=(*measurements, *measured(watched)),
        excerpts=excerpts,
    )


def blockers(course: Course) -> tuple[Measurement, ...]:
    """What was met, in order, with the cure of each; then how quickly the last attempt came up."""
    found = []
    for number, met in enumerate(course.met, 1):
        name = met.blocker.name if met.blocker is not None else "not known"
        unknown = "none was needed, it did not come again" if course.works else "none is known"
        cure = met.blocker.treatment if met.blocker is not None else unknown
        after = f"{met.stop.after_seconds:.1f} s"
        found.append(
            Measurement(name=f"blocker {number} ({met.stop.stage})", value=f"{name}, after {after}; cure: {cure}")
        )
    if course.ready_seconds is not None and course.running_seconds is not None:
        found.append(Measurement(name="node Ready after", value=f"{course.ready_seconds:.1f} s"))
        found.append(Measurement(name="pod Running after", value=f"{course.running_seconds:.1f} s"))
    return tuple(found)


def reasons(course: Course) -> tuple[Excerpt, ...]:
    """In which words each blocker stopped the worker."""
    return tuple(
        Excerpt(source=f"blocker {number}", lines=(shortened(met.stop.reason, LONGEST_REASON),))
        for number, met in enumerate(course.met, 1)
    )


EXPERIMENT = Experiment(
    number="02",
    name="stock-worker",
    title="A stock worker with no help",
    hypothesis="A stock worker cannot be brought to work by mounts and settings alone: cAdvisor, which knows no "
    "9p, is a blocker that nothing outside of it cures.",
    method="containerd and the kubelet with upstream's own configuration are started beside a control plane. What "
    "they stop at is read from their last words, the one cure for it is applied, and they are started again, until "
    "a pod runs. Then pods come and go while the node is watched.",
    reported="Eight blockers; all but the statistics of cAdvisor and the control groups were worked around. "
    "`failed to get rootfs info: unable to find data in memory cache` was taken for cAdvisor's refusal of a root "
    "on 9p, hard-coded and beyond reach.",
    run=run,
    needs=(ROOT, GVISOR),
)
