"""Stops a process of kins at one step of the plan, so that a test can kill it there.

Lies inside an environment as `sitecustomize.py`, which Python imports at its start (site), and does something where
KINS_TEST_CUT is set: to `before N`, `after N` (the N-th step that is executed, from 0), `end` (after all of them) or
`undo N` (before the N-th that is undone). At that point the process writes to the file KINS_TEST_CUT_REACHED and stands
still. It knows nothing of what a test makes of that.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any


def stand_still() -> None:
    """Say that the cut is reached, and do nothing more."""
    Path(os.environ["KINS_TEST_CUT_REACHED"]).write_text("reached")
    while True:
        signal.pause()


def counted(function: Callable[..., Any], number: int, moment: str) -> Callable[..., Any]:
    """The function, standing still before or after its call of that number."""
    left = number

    def call(*arguments: Any) -> Any:
        nonlocal left
        here = left == 0
        left -= 1
        if here and moment != "after":
            stand_still()
        result = function(*arguments)
        if here and moment == "after":
            stand_still()
        return result

    return call


def install(cut: str) -> None:
    """Put the cut into the journal's functions."""
    from kins.plan import journal, origin

    moment, _, number = cut.partition(" ")
    if moment in ("before", "after"):
        journal._execute = counted(journal._execute, int(number), moment)
    elif moment == "undo":
        origin.Origin.undo = counted(origin.Origin.undo, int(number), moment)  # type: ignore[method-assign]
    else:
        execute = journal.Journal.execute

        def whole(self: journal.Journal, steps: Iterable[Any]) -> Any:
            execute(self, steps)
            stand_still()

        journal.Journal.execute = whole  # type: ignore[method-assign]


if "KINS_TEST_CUT" in os.environ:
    install(os.environ["KINS_TEST_CUT"])
