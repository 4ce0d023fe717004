"""The write-ahead journal: a step is on disk before it is executed, so that any death leaves something to undo."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import msgspec

from kins.errors import KinsError
from kins.plan.origin import Origin
from kins.plan.steps import AnyStep


class Journal:
    """Steps as JSON lines in `path`, in the order of their execution, after a line that says where they were executed.

    Lines are not synced to the disk: a killed process does not lose what it wrote, and after a crash of the whole
    machine the kernel objects are gone anyway.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def execute(self, steps: Iterable[AnyStep]) -> list[AnyStep]:
        """Record and execute each step that has something to do; returns those. Raises KinsError naming the step."""
        done: list[AnyStep] = []
        with open(self.path, "ab", buffering=0) as journal:
            if os.fstat(journal.fileno()).st_size == 0:
                os.write(journal.fileno(), msgspec.json.encode(Origin.here()) + b"\n")
            for step in steps:
                prepared = _checked(step)
                if prepared is None:
                    continue
                os.write(journal.fileno(), msgspec.json.encode(prepared) + b"\n")
                _execute(prepared)
                done.append(prepared)
        return done

    def steps(self) -> list[AnyStep]:
        """The recorded steps. A last line that was cut off by a death was not executed and is left out."""
        return [line for line in self._lines() if not isinstance(line, Origin)]

    def origin(self) -> Origin | None:
        """Where they were executed; None in a journal that an older kins has written, or an empty one."""
        return next((line for line in self._lines() if isinstance(line, Origin)), None)

    def _lines(self) -> list[AnyStep | Origin]:
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return []
        decoder = msgspec.json.Decoder(AnyStep | Origin)
        try:
            return [decoder.decode(line) for line in content.split(b"\n")[:-1]]
        except msgspec.DecodeError as error:
            raise KinsError(
                f"{self.path} is damaged: {error}",
                code="state-damaged",
                hint=f"undo by hand what it lists, then rm {self.path}",
            ) from error

    def undo(self) -> None:
        """Undo every step, last first, then forget them. A step that fails does not keep the others from being
        undone; what has ended with its kernel or network namespace is left out."""
        failures: list[str] = []
        place = self.origin() or Origin.here()
        for step in reversed(self.steps()):
            try:
                place.undo(step)
            except OSError as error:
                failures.append(f"{step.describe()}: {error}")
        if failures:
            raise KinsError(
                "could not undo: " + "; ".join(failures),
                code="undo-failed",
                hint="remove what the message names, then run `kins down` again",
            )
        self.path.unlink(missing_ok=True)


def _checked(step: AnyStep) -> AnyStep | None:
    try:
        return step.prepare()
    except OSError as error:
        raise _failure(step, error) from error


def _execute(step: AnyStep) -> None:
    try:
        step.execute()
    except OSError as error:
        raise _failure(step, error) from error


def _failure(step: AnyStep, error: OSError) -> KinsError:
    return KinsError(f"step failed: {step.describe()} (needed by {step.because}): {error}", code="step-failed")
