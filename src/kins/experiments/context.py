"""What an experiment works with: its directory, its time, and how it tells what it does."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from kins.plan import AnyStep, Journal

# Below the experiment's directory.
JOURNAL = "journal.jsonl"


@dataclass
class Context:
    """One run of an experiment. `minutes` is how long to watch what works; `undoing` is unwound at its end, also after
    Ctrl-C; steps in the journal are undone last, and by the next run if this one was killed."""

    directory: Path
    minutes: float
    tell: Callable[[str], None]
    undoing: ExitStack = field(default_factory=ExitStack)

    @property
    def journal(self) -> Journal:
        """The steps that were taken on the sandbox itself."""
        return Journal(self.directory / JOURNAL)

    def execute(self, steps: Sequence[AnyStep]) -> None:
        """Take steps, each journalled before. Raises KinsError."""
        self.journal.execute(steps)

    def kins(self, *arguments: str, timeout: float = 600.0) -> subprocess.CompletedProcess[str]:
        """Run a kins command as a user does, whatever its exit status."""
        return run([sys.executable, "-P", "-m", "kins.cli", *arguments], timeout=timeout)


@dataclass(frozen=True)
class Timed:
    """How a command ended, and after how many seconds."""

    done: subprocess.CompletedProcess[str]
    seconds: float


def run(command: Sequence[str], timeout: float = 600.0, text: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command to its end, with `text` as its input, and keep what it says."""
    return subprocess.run(
        command, input=text, capture_output=True, text=True, errors="replace", timeout=timeout, check=False
    )


def timed(command: Sequence[str], timeout: float = 600.0, text: str = "") -> Timed:
    """The same with the time that it takes."""
    began = time.monotonic()
    done = run(command, timeout, text)
    return Timed(done, time.monotonic() - began)
