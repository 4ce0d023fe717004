"""How a fact is explained, and what comes out of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import msgspec

from kins.sandbox.facts import Answer, Facts

State = Literal["works", "cured", "missing"]


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One fact of this sandbox, explained. `found` is the value or the kernel's word; `consequence`: what needs it;
    `cure` and `cost`: the step that helps and its price, where there is one; `hint`: what would give the thing itself.
    """

    fact: str
    topic: str
    state: State
    found: str
    consequence: str
    cure: str = ""
    cost: str = ""
    hint: str = ""


@dataclass(frozen=True)
class Cure:
    """What is done instead, its price, and where it can be done."""

    step: str
    cost: str
    possible: Callable[[Facts], bool]


@dataclass(frozen=True)
class Explanation:
    """What a fact is about. Without `works` the fact is an Answer; `shown` makes text of other facts."""

    fact: str
    consequence: str
    hint: str
    cures: tuple[Cure, ...] = ()
    works: Callable[[Facts], bool] | None = None
    shown: Callable[[Facts], str] | None = None

    def finding(self, topic: str, facts: Facts) -> Finding:
        """The fact in this sandbox."""
        works = self.works(facts) if self.works else getattr(facts, self.fact).works
        cure = None if works else next((each for each in self.cures if each.possible(facts)), None)
        state: State = "works" if works else "cured" if cure else "missing"
        return Finding(
            fact=self.fact,
            topic=topic,
            state=state,
            found=self._found(facts),
            consequence=self.consequence,
            cure=cure.step if cure else "",
            cost=cure.cost if cure else "",
            hint="" if works else self.hint,
        )

    def _found(self, facts: Facts) -> str:
        if self.shown:
            return self.shown(facts)
        value = getattr(facts, self.fact)
        if isinstance(value, Answer):
            return value.cause or "yes"
        return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def always(_: Facts) -> bool:
    """For a fact that is no matter of yes or no, and for a cure that works everywhere."""
    return True


def working(*names: str) -> Callable[[Facts], bool]:
    """Whether all these answers are yes."""
    return lambda facts: all(getattr(facts, name).works for name in names)
