"""What stops a worker, in the order in which it shows: start, read why it stopped, apply the one cure, start again."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from kins.experiments.worker import POLL_SECONDS, Program, Worker

# What is written last is the reason; a kubelet that ends at once has written little.
LAST_LINES = 40
# How long a kubelet may run without its node being Ready, and a pod without running, before that is the blocker.
READY_SECONDS = 90.0
POD_SECONDS = 90.0
# A node that is not Ready says why, but is also not Ready for a moment at each start.
SETTLE_SECONDS = 20.0
MOST_ATTEMPTS = 20

Stage = Literal["containerd", "images", "kubelet", "node", "pod"]
Cure = Callable[[Worker], None]


@dataclass(frozen=True)
class Blocker:
    """Something known to stop a worker: at which stage, by which words, and what cures it, in a sentence."""

    name: str
    stage: Stage
    symptom: re.Pattern[str]
    cure: Cure
    treatment: str


@dataclass(frozen=True)
class Stop:
    """Where an attempt ended without a running pod: the stage, and the lines that say why."""

    stage: Stage
    reason: str
    after_seconds: float


@dataclass(frozen=True)
class Met:
    """A blocker that was met; `blocker` is None for one that nothing is known about."""

    stop: Stop
    blocker: Blocker | None


@dataclass(frozen=True)
class Course:
    """All that was met until a pod ran or nothing was known to help; times of the last attempt."""

    met: tuple[Met, ...]
    ready_seconds: float | None
    running_seconds: float | None

    @property
    def works(self) -> bool:
        """Whether a pod ran at the end."""
        return self.running_seconds is not None


def overcome(worker: Worker, known: Mapping[str, Blocker]) -> Course:
    """Try, cure and try again."""
    met: list[Met] = []
    applied: set[str] = set()
    for _ in range(MOST_ATTEMPTS):
        stopped = attempt(worker)
        if isinstance(stopped, Course):
            return Course(tuple(met), stopped.ready_seconds, stopped.running_seconds)
        blocker = recognized(stopped, known, applied)
        met.append(Met(stopped, blocker))
        worker.context.tell(f"{stopped.stage}: {shortened(stopped.reason, 160)}")
        if blocker is None:
            if len(met) > 1 and met[-2].blocker is None:
                break
            # A machine that is busy stops a worker as well: what comes only once is no blocker.
            continue
        worker.context.tell(f"cure: {blocker.treatment}")
        applied.add(blocker.name)
        blocker.cure(worker)
    return Course(tuple(met), None, None)


def recognized(stopped: Stop, known: Mapping[str, Blocker], applied: set[str]) -> Blocker | None:
    """The blocker that an attempt met: the one whose words come last. A cure that was applied has no second try."""
    found = [
        (max(match.start() for match in blocker.symptom.finditer(stopped.reason)), blocker)
        for blocker in known.values()
        if blocker.stage == stopped.stage and blocker.name not in applied and blocker.symptom.search(stopped.reason)
    ]
    return max(found, key=lambda pair: pair[0])[1] if found else None


def attempt(worker: Worker) -> Stop | Course:
    """Start everything and see how far it comes."""
    began = time.monotonic()

    def stop(stage: Stage, reason: str) -> Stop:
        return Stop(stage, reason, round(time.monotonic() - began, 1))

    worker.start_containerd()
    assert worker.containerd is not None
    if worker.containerd.ended:
        return stop("containerd", last_words(worker.containerd))
    if refusal := worker.load_pause_image():
        return stop("images", refusal)
    worker.start_kubelet()
    assert worker.kubelet is not None
    reason = await_ready(worker)
    if reason is not None:
        return stop("kubelet", last_words(worker.kubelet)) if worker.kubelet.ended else stop("node", reason)
    ready = time.monotonic() - began
    worker.forget_warnings()
    worker.create_pod()
    reason = await_running(worker)
    if reason is not None:
        worker.delete_pod()
        return stop("pod", reason)
    return Course((), round(ready, 1), round(time.monotonic() - began, 1))


def await_ready(worker: Worker) -> str | None:
    """Wait for the node; why it is not Ready, or None. Ends at once when the kubelet does."""
    assert worker.kubelet is not None
    since, began = datetime.now(UTC), time.monotonic()
    while time.monotonic() < began + READY_SECONDS:
        if worker.kubelet.ended:
            return "the kubelet ended"
        if worker.is_ready(since):
            return None
        if time.monotonic() > began + SETTLE_SECONDS and (complaint := worker.complaint()):
            return complaint
        time.sleep(POLL_SECONDS)
    return last_words(worker.kubelet)


def await_running(worker: Worker) -> str | None:
    """Wait for the pod; why it does not run, or None."""
    began = time.monotonic()
    while time.monotonic() < began + POD_SECONDS:
        if worker.pod().get("status", {}).get("phase") == "Running":
            return None
        if warnings := worker.warnings():
            # To the scheduler a node under pressure has "untolerated taints".
            return "\n".join([*warnings, *worker.pressures()])
        time.sleep(POLL_SECONDS)
    assert worker.kubelet is not None
    return last_words(worker.kubelet)


def last_words(program: Program) -> str:
    """The end of a program's log."""
    lines = program.log.read_text(errors="replace").splitlines()
    return "\n".join(lines[-LAST_LINES:])


def shortened(text: str, length: int) -> str:
    """The last line of a text that says something of an error, or its last one, within a length."""
    lines = [line for line in text.splitlines() if line.strip()] or [""]
    telling = [line for line in lines if re.match(r"^[EF]\d{4} |.*level=(fatal|error)|.*[Ee]rror", line)]
    line = (telling or lines)[-1].strip()
    return line if len(line) <= length else f"{line[: length - 1]}…"
