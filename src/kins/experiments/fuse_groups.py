"""Experiment 07: control groups as a FUSE file system."""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from kins.cgroupfs import READERS_ENVIRONMENT, rules
from kins.errors import KinsError
from kins.experiments.blockers import last_words, overcome
from kins.experiments.context import Context
from kins.experiments.cures import CONTROL_GROUPS, KNOWN, replaced
from kins.experiments.model import Experiment, Findings, Measurement
from kins.experiments.needs import FUSE, GVISOR, INTERCEPTION, ROOT
from kins.experiments.stock_worker import blockers, reasons
from kins.experiments.traced_worker import STATISTICS
from kins.experiments.watching import measured, watch
from kins.experiments.worker import POLL_SECONDS, Worker
from kins.intercept import command_line
from kins.sys import mounts

VERSION = 1
MOUNT_SECONDS = 20.0
SERVED = "control groups served by kins.cgroupfs at /sys/fs/cgroup, shown as the kernel's by a tracer"


@dataclass(frozen=True)
class Reading:
    """Every file of the root groups, read once: seconds of each that could be read, and the errors of the others."""

    seconds: list[float]
    errors: list[str]


def serve_groups(worker: Worker) -> None:
    """Mount the groups, and put containerd and the kubelet under a tracer that tells them these are the kernel's."""
    state = worker.directory / "groups.json"
    argv = [sys.executable, "-P", "-m", "kins.cgroupfs", "--mount", CONTROL_GROUPS]
    server = worker.start_helper("cgroupfs", [*argv, "--state", str(state), "--version", str(VERSION)])
    deadline = time.monotonic() + MOUNT_SECONDS
    while not is_mounted():
        if server.ended or time.monotonic() > deadline:
            raise KinsError(f"control groups could not be served: {last_words(server)}", code="experiment-failed")
        time.sleep(POLL_SECONDS)
    file = worker.directory / "group-rules.json"
    file.write_text(json.dumps({"version": 1, "rules": rules(CONTROL_GROUPS, VERSION)}))
    worker.setup.environment |= READERS_ENVIRONMENT
    tracer = tuple(command_line((), str(file)))
    worker.setup.containerd_wrapper += tracer
    worker.setup.kubelet_wrapper += tracer


def is_mounted() -> bool:
    """Whether something is mounted where control groups belong."""
    return any(entry.target == CONTROL_GROUPS and entry.kind.startswith("fuse") for entry in mounts.mount_table())


def run(context: Context) -> Findings:
    """A worker on these groups, and every file of the root ones read."""
    worker = Worker(context)
    worker.prepare()
    known = replaced(KNOWN, "control groups", serve_groups, SERVED)
    del known[STATISTICS]
    course = overcome(worker, known)
    measurements = list(blockers(course))
    if not course.works:
        return Findings(
            verdict="refuted" if course.met else "failed",
            conclusion="No pod ran on these control groups.",
            measurements=tuple(measurements),
            excerpts=reasons(course),
        )
    watched = watch(worker, context.minutes)
    reading = read_all(Path(CONTROL_GROUPS))
    measurements += measured(watched)
    measurements += [
        Measurement(name="files read", value=f"{len(reading.seconds)}, {len(reading.errors)} errors"),
        Measurement(name="time of a read", value=f"{1000 * statistics.median(reading.seconds):.1f} ms (median)"),
        Measurement(name="CPU of all since the start, as told and by /proc/stat", value=compared_usage()),
    ]
    how = "was Ready without a break and ran every pod" if watched.steady else "did not stay well"
    well = watched.steady and not reading.errors
    return Findings(
        verdict="confirmed" if well else "refuted",
        conclusion="On control groups in FUSE, with no mount of the kernel's, a stock kubelet started without the "
        f"cache error; the node {how} for {watched.minutes:.1f} minutes, at {watched.churn.per_hour:.0f} container "
        f"starts an hour of {watched.churn.wanted_per_hour:.0f}, and {len(reading.seconds)} files could be read.",
        measurements=tuple(measurements),
        excerpts=reasons(course),
    )


def read_all(top: Path) -> Reading:
    """Read every file of the root groups once; groups below have the same ones. Those for writing only are left out."""
    seconds, errors = [], []
    for path in sorted(top.glob("*/*")):
        if not path.is_file() or not path.stat().st_mode & 0o444:
            continue
        began = time.monotonic()
        try:
            path.read_bytes()
        except OSError as error:
            errors.append(f"{path}: {error}")
        else:
            seconds.append(time.monotonic() - began)
    return Reading(seconds, errors)


def compared_usage() -> str:
    """cpuacct.usage of the root, and the sum of /proc/stat without idle time."""
    told = int(Path(CONTROL_GROUPS, "cpuacct", "cpuacct.usage").read_text()) / 1e9
    return f"{told:.1f} s and {busy_seconds(Path('/proc/stat').read_text()):.1f} s"


def busy_seconds(text: str) -> float:
    """Seconds that all cores were not idle, by /proc/stat (proc_stat(5)): its first line, user, nice and system."""
    fields = text.partition("\n")[0].split()
    return sum(int(field) for field in fields[1:4]) / os.sysconf("SC_CLK_TCK")


EXPERIMENT = Experiment(
    number="07",
    name="fuse-control-groups",
    title="Control groups as a FUSE file system",
    hypothesis="Control groups that a program serves by FUSE can take the place of the kernel's for a stock "
    "kubelet, cAdvisor, containerd and runc.",
    method="As experiment 02, except that control groups are served by `kins.cgroupfs`; a tracer tells containerd "
    "and the kubelet that they are the kernel's (statfs, mountinfo), which FUSE cannot. Nothing else is done about "
    "the statistics of the root. Go's signals between its own threads are off in both, because in gVisor a signal "
    "ends a request to a FUSE server. Pods come and go; then every file of the root groups is read.",
    reported="Written and never validated: files with fixed content that were expected to satisfy cAdvisor.",
    run=run,
    needs=(ROOT, GVISOR, INTERCEPTION, FUSE),
)
