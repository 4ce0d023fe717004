"""Runs experiments one after another, each in a process and a directory of its own, and clears up what one left."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from kins.components.versions import shipped_versions
from kins.errors import KinsError
from kins.experiments.context import JOURNAL
from kins.experiments.inside import RESULT
from kins.experiments.model import Experiment, ExperimentResult
from kins.experiments.plots import drawn
from kins.plan import Journal
from kins.soak.surroundings import surroundings

# On the root file system, unlike /tmp in many sandboxes: its type is what several experiments are about. Short, because
# unix sockets lie below it.
PLACE = Path("/var/tmp")
# An experiment that is told to end takes a cluster down.
END_SECONDS = 120.0
ISOLATED = ("-P", "-m", "kins.experiments.isolation", sys.executable)
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Ran:
    """A result, and the plots that belong to it by name."""

    result: ExperimentResult
    plots: Mapping[str, bytes]


def run_experiments(chosen: Sequence[Experiment], minutes: float, tell: Tell) -> Iterator[Ran]:
    """Run each; yields results as they come. On Ctrl-C the running one is undone. Raises KinsError."""
    with _directory() as directory:
        for experiment in chosen:
            tell(f"{experiment.number} {experiment.title}")
            yield _run(experiment, directory, minutes, tell)


@contextlib.contextmanager
def _directory() -> Iterator[Path]:
    """The one directory of this user's experiments; what a killed run left in it is undone first."""
    directory = PLACE / f"kins-experiments-{os.getuid()}"
    directory.mkdir(mode=0o700, exist_ok=True)
    lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(lock)
        raise KinsError(
            "experiments of this user are running already", code="experiments-running", hint="wait for their end"
        ) from error
    try:
        _clear(directory)
        yield directory
    finally:
        _clear(directory)
        directory.rmdir()
        os.close(lock)


def _run(experiment: Experiment, directory: Path, minutes: float, tell: Tell) -> Ran:
    isolated = experiment.isolated and os.geteuid() == 0
    arguments = ["-P", "-m", "kins.experiments.inside", experiment.number, str(directory), f"{minutes:g}"]
    command = [sys.executable, *(ISOLATED if isolated else ()), *arguments]
    said: list[str] = []
    with subprocess.Popen(
        command,
        env=_environment(directory),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        # Ctrl-C reaches us alone; the experiment is told by us, once.
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                said.append(line.rstrip())
                tell(f"   {said[-1]}")
            process.wait()
        except BaseException:
            _end(process)
            raise
    try:
        return Ran(_result(experiment, directory, minutes, process.returncode, said), drawn(directory))
    finally:
        _clear(directory)


def _environment(directory: Path) -> dict[str, str]:
    """Clusters, kubeconfig and temporary files of an experiment are all in its directory."""
    places = {"KINS_HOME": directory / "home", "KUBECONFIG": directory / "kubeconfig"}
    return {**os.environ, **{name: str(path) for name, path in places.items()}}


def _end(process: subprocess.Popen[str]) -> None:
    """Have an experiment undo what it made, and end it."""
    process.send_signal(signal.SIGINT)
    try:
        process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        # Its namespaces, and all that is in them, end with it.
        process.kill()
        process.wait()


def _result(
    experiment: Experiment, directory: Path, minutes: float, code: int, said: Sequence[str]
) -> ExperimentResult:
    path = directory / RESULT
    if path.exists():
        return msgspec.json.decode(path.read_bytes(), type=ExperimentResult)
    return ExperimentResult(
        number=experiment.number,
        name=experiment.name,
        title=experiment.title,
        hypothesis=experiment.hypothesis,
        method=experiment.method,
        reported=experiment.reported,
        verdict="failed",
        conclusion=f"Its process ended with status {code} and gave no result: {' / '.join(said[-3:]) or 'no word'}",
        lacks=(),
        measurements=(),
        excerpts=(),
        soak=None,
        began=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds=0.0,
        minutes=minutes,
        surroundings=surroundings(),
        versions=shipped_versions(),
    )


def _clear(directory: Path) -> None:
    """Undo and remove what is in the directory: clusters by `kins down`, steps by the journal, files."""
    if (directory / "home").exists():
        down = [sys.executable, "-P", "-m", "kins.cli", "down", "--all"]
        if os.geteuid() == 0:
            # In a network namespace of its own: the bridge of an experiment went with its namespaces, and one of the
            # same name here is somebody else's.
            down[1:1] = ISOLATED
        done = subprocess.run(down, env=_environment(directory), capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise KinsError(f"a cluster of an experiment is left: {done.stderr.strip()}", code="undo-failed")
    Journal(directory / JOURNAL).undo()
    for entry in directory.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
