"""Experiments 04 and 06: the kubelet under a tracer that redirects /proc/sys, and one that also tells another "
"statfs."""

from __future__ import annotations

from collections.abc import Mapping

from kins.errors import KinsError
from kins.experiments.blockers import Blocker, overcome
from kins.experiments.context import Context
from kins.experiments.context import run as run_command
from kins.experiments.cures import KNOWN, SYSCTLS, replaced
from kins.experiments.model import Excerpt, Experiment, Findings, Measurement
from kins.experiments.needs import GVISOR, INTERCEPTION, ROOT
from kins.experiments.stock_worker import blockers, reasons
from kins.experiments.watching import measured, watch
from kins.experiments.worker import Worker
from kins.intercept import command_line, encode, node_rules
from kins.sys import mounts

TRACED = "the tracer of kins leads the settings to files of ours"
STATISTICS = "statistics of the root"


def trace(worker: Worker, types: Mapping[int, int] | None = None) -> None:
    """Put the kubelet under the tracer."""
    tree = worker.directory / "proc-sys"
    for name, value in SYSCTLS.items():
        worker.write(str(tree / name), f"{value}\n")
    rules = worker.directory / "rules.json"
    rules.write_bytes(encode(node_rules(SYSCTLS, str(tree), types=types)))
    worker.setup.kubelet_wrapper += tuple(command_line((), str(rules)))


def run_plain(context: Context) -> Findings:
    """Experiment 04."""
    worker = Worker(context)
    worker.prepare()
    course = overcome(worker, replaced(KNOWN, "kernel settings", trace, TRACED))
    if not course.works:
        return Findings(
            verdict="refuted",
            conclusion="The worker did not come up under the tracer.",
            measurements=blockers(course),
            excerpts=reasons(course),
        )
    watched = watch(worker, context.minutes)
    how = "was Ready without a break" if watched.steady else "did not stay Ready, or lost pods"
    return Findings(
        verdict="confirmed" if watched.steady else "refuted",
        conclusion=f"Under the tracer the kubelet found its settings, and the node {how} for {watched.minutes:.1f} "
        "minutes. The tracer does nothing about the statistics of the root: that blocker came in any case, and "
        "needed its own cure.",
        measurements=(*blockers(course), *measured(watched)),
        excerpts=reasons(course),
    )


def run_with_statfs(context: Context) -> Findings:
    """Experiment 06."""
    worker = Worker(context)
    worker.prepare()
    root = mounts.filesystem_type("/")
    trace(worker, {root: mounts.EXT4})
    told = told_type(worker)
    without = {name: each for name, each in known().items() if name != STATISTICS}
    first = overcome(worker, without)
    stopped = first.met[-1].stop.reason if first.met else ""
    same_error = "unable to find data in memory cache" in stopped
    second = overcome(worker, known())
    measurements = [
        Measurement(name="type of the root as the kernel tells it", value=f"{root:#x}"),
        Measurement(name="type of the root as the kubelet is told it", value=told),
        Measurement(name="cache error with that, and nothing else against it", value="yes" if same_error else "no"),
        *blockers(first),
    ]
    if not second.works:
        return Findings(
            verdict="failed",
            conclusion="The worker did not come up.",
            measurements=tuple(measurements),
            excerpts=(*reasons(first), *reasons(second)),
        )
    watched = watch(worker, context.minutes)
    measurements += [*(_then(each) for each in blockers(second)), *measured(watched)]
    how = "Ready without a break" if watched.steady else "not steady"
    error = "still came: its cause is not that type, and" if same_error else "did not come;"
    return Findings(
        verdict="refuted" if same_error else "confirmed",
        conclusion=f"The kubelet was told {told} for its root, and the cache error {error} one more file of the "
        f"control groups cured it. The node was then {how} under the tracer for {watched.minutes:.1f} minutes.",
        measurements=tuple(measurements),
        excerpts=(*reasons(first), Excerpt(source="where it stopped", lines=tuple(stopped.splitlines()[-2:]))),
    )


def known() -> dict[str, Blocker]:
    """The blockers by name, without the one that the tracer is there for."""
    return {each.name: each for each in KNOWN if each.name != "kernel settings"}


def told_type(worker: Worker) -> str:
    """What a program under the kubelet's tracer is told of the root."""
    done = run_command([*worker.setup.kubelet_wrapper, "/usr/bin/stat", "--file-system", "--format=%T", "/"])
    if done.returncode != 0:
        raise KinsError(f"the tracer did not start: {done.stderr.strip()}", code="experiment-failed")
    return done.stdout.strip()


def _then(measurement: Measurement) -> Measurement:
    return Measurement(name=f"then: {measurement.name}", value=measurement.value)


PLAIN = Experiment(
    number="04",
    name="plain-tracer",
    title="A tracer that redirects /proc/sys",
    hypothesis="Under a tracer that leads the kubelet's settings to prepared files, a worker is Ready and stays so.",
    method="A stock worker is brought up as in experiment 02, except that the settings below /proc/sys, which "
    "gVisor lacks, are answered by `kins intercept` around the kubelet. Then pods come and go while the node is "
    "watched.",
    reported="A tracer that stopped at every system call brought the node to Ready; after 30 to 60 seconds it was "
    "not any more, with the cache error in the log. Cost: two to five times per intercepted call.",
    run=run_plain,
    needs=(ROOT, GVISOR, INTERCEPTION),
)
WITH_STATFS = Experiment(
    number="06",
    name="spoofed-statfs",
    title="A tracer that also tells another type of file system",
    hypothesis="`unable to find data in memory cache` comes from the type of the root, and a tracer that answers "
    "statfs with ext4 cures it.",
    method="As experiment 04, and statfs and fstatfs on the root's type answer ext4. What a program is told under "
    "the tracer is checked first. The worker is started without any other cure of the cache error, then with one.",
    reported="Written and never validated. It was expected to make cAdvisor accept the root.",
    run=run_with_statfs,
    needs=(ROOT, GVISOR, INTERCEPTION),
)
