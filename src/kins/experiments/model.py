"""What an experiment is, and what it gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import msgspec

from kins.soak.report import SoakReport, Surroundings

if TYPE_CHECKING:
    from kins.experiments.context import Context

RESULT_VERSION = 1
Verdict = Literal["confirmed", "refuted", "failed", "not-run"]


class Measurement(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was measured; `value` as it is shown, with its unit."""

    name: str
    value: str


class Excerpt(msgspec.Struct, frozen=True, kw_only=True):
    """Lines of a log or of a program's output, shortened to what matters."""

    source: str
    lines: tuple[str, ...]


class Findings(msgspec.Struct, frozen=True, kw_only=True):
    """What running an experiment gave: whether its hypothesis holds, in a sentence, and on what grounds."""

    verdict: Verdict
    conclusion: str
    measurements: tuple[Measurement, ...] = ()
    excerpts: tuple[Excerpt, ...] = ()
    soak: SoakReport | None = None


class ExperimentResult(msgspec.Struct, frozen=True, kw_only=True):
    """One run of an experiment. `confirmed` and `refuted` are about the hypothesis; `failed`: it gave no answer, and
    why; `not-run`: what `lacks` names was missing. `began` is a time in UTC (ISO 8601)."""

    version: int = RESULT_VERSION
    number: str
    name: str
    title: str
    hypothesis: str
    method: str
    reported: str
    verdict: Verdict
    conclusion: str
    lacks: tuple[str, ...]
    measurements: tuple[Measurement, ...]
    excerpts: tuple[Excerpt, ...]
    soak: SoakReport | None
    began: str
    seconds: float
    minutes: float
    surroundings: Surroundings
    versions: dict[str, str]


@dataclass(frozen=True)
class Need:
    """Something that an experiment cannot do without. `lacking` gives what is missing, in a sentence, or None."""

    lacking: Callable[[], str | None]


@dataclass(frozen=True)
class Experiment:
    """An experiment as data, and the function that runs it. `isolated`: in namespaces of its own, which needs root."""

    number: str
    name: str
    title: str
    hypothesis: str
    method: str
    reported: str
    run: Callable[[Context], Findings]
    needs: tuple[Need, ...] = ()
    isolated: bool = True

    def lacks(self) -> tuple[str, ...]:
        """What is missing here, in sentences."""
        found = (need.lacking() for need in self.needs)
        return tuple(cause for cause in found if cause is not None)
