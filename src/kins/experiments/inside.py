"""One experiment in its own process: run as `python -m kins.experiments.inside NUMBER DIRECTORY MINUTES`.

Lines on standard output are for people. The result is a file in the directory.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from kins.components.versions import shipped_versions
from kins.errors import KinsError
from kins.experiments.catalogue import by_number
from kins.experiments.context import Context
from kins.experiments.model import Experiment, ExperimentResult, Findings
from kins.soak.surroundings import surroundings

RESULT = "result.json"


def main() -> None:
    """Run the experiment that the arguments name."""
    number, directory, minutes = sys.argv[1], Path(sys.argv[2]), float(sys.argv[3])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    result = run(by_number(number), Context(directory, minutes, lambda line: print(line, flush=True)))
    (directory / RESULT).write_bytes(msgspec.json.encode(result))


def run(experiment: Experiment, context: Context) -> ExperimentResult:
    """The result of an experiment; what it made is undone when this returns or raises."""
    began, clock = datetime.now(UTC), time.monotonic()
    lacks = experiment.lacks()
    findings = _not_run(lacks) if lacks else _findings(experiment, context)
    return ExperimentResult(
        number=experiment.number,
        name=experiment.name,
        title=experiment.title,
        hypothesis=experiment.hypothesis,
        method=experiment.method,
        reported=experiment.reported,
        verdict=findings.verdict,
        conclusion=findings.conclusion,
        lacks=lacks,
        measurements=findings.measurements,
        excerpts=findings.excerpts,
        soak=findings.soak,
        began=began.isoformat(timespec="seconds"),
        seconds=round(time.monotonic() - clock, 1),
        minutes=context.minutes,
        surroundings=surroundings(),
        versions=shipped_versions(),
    )


def _not_run(lacks: tuple[str, ...]) -> Findings:
    return Findings(verdict="not-run", conclusion="Not run. It lacks " + "; ".join(lacks) + ".")


def _findings(experiment: Experiment, context: Context) -> Findings:
    try:
        with context.undoing:
            return experiment.run(context)
    except KinsError as error:
        return Findings(verdict="failed", conclusion=f"It gave no answer: {error.code}: {error.message}")
    except (OSError, subprocess.TimeoutExpired) as error:
        return Findings(verdict="failed", conclusion=f"It gave no answer: {error}")


if __name__ == "__main__":
    main()
