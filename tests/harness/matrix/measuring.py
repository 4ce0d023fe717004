"""One row from the start of its sandbox to its end: what it says, how long it takes, what it leaves."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import TypeVar

import msgspec
from tests.harness import BUILD
from tests.harness.matrix.promises import keep
from tests.harness.matrix.rows import EMULATED, IN_USER_NAMESPACE, NODE, SHARING, TRACED, Row, node
from tests.harness.wheel import ENVIRONMENT
from tests.scenario.cluster import PATIENCE

Result = TypeVar("Result")
RESULTS = BUILD / "matrix"
PYTHON = f"{ENVIRONMENT}/bin/python"

# What kins has made of the facts for its cluster.
TELL_DECISIONS = """
import msgspec
from kins.cluster import store
print(msgspec.json.encode(store.record(store.layout("default")).decisions).decode())
"""


class Missing(msgspec.Struct, frozen=True):
    """What keeps a higher level away, in kins' own words."""

    fact: str
    cause: str
    consequence: str
    hint: str


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a row; seconds are those of the whole command as its user waits for it, but the doctor's, which are
    those of its probes."""

    row: str
    level: str
    doctor_seconds: float
    up_seconds: float
    promise_seconds: float
    down_seconds: float
    missing: tuple[Missing, ...]
    limits: tuple[str, ...]


def measure(row: Row) -> Measured:
    """Take a row through everything. AssertionError and CommandFailed say where it is not as expected."""
    with row.make() as environment:
        before = environment.snapshot()
        doctor = environment.kins_json("doctor", user=row.user)
        up, up_seconds = timed(lambda: environment.kins_json("up", user=row.user, timeout=PATIENCE + 10))
        decisions = json.loads(environment.run([PYTHON, "-c", TELL_DECISIONS], user=row.user).stdout)
        level = in_words(decisions)
        assert level == row.expected, f"{row.name}: {level} instead of {row.expected}: {decisions['missing']}"
        assert bool(up["missing"]) == (up["level"] != NODE), up
        told = (doctor["level"], doctor["missing"], doctor["limits"])
        assert told == (up["level"], up["missing"], decisions["limits"]), f"{row.name}: the doctor said {told}"
        _, promise_seconds = timed(lambda: keep(up["level"], environment, row.user))
        _, down_seconds = timed(lambda: environment.kins("down", user=row.user, timeout=PATIENCE))
        changes = environment.changes_since(before)
        assert changes == "", f"{row.name}: `kins down` leaves:\n{changes}"
    return Measured(
        row=row.name,
        level=level,
        doctor_seconds=doctor["seconds"],
        up_seconds=up_seconds,
        promise_seconds=promise_seconds,
        down_seconds=down_seconds,
        missing=msgspec.convert(up["missing"], tuple[Missing, ...]),
        limits=tuple(decisions["limits"]),
    )


def in_words(decisions: dict[str, object]) -> str:
    """A level as the table calls it, with how a node is had."""
    level = str(decisions["level"])
    if level != NODE:
        return level
    ways = {
        IN_USER_NAMESPACE: decisions["isolation"] == "user-namespace",
        SHARING: decisions["pod_network"] == "shared",
        EMULATED: decisions["control_groups"] == "emulated",
        TRACED: decisions["interception"],
    }
    return node(*(way for way, taken in ways.items() if taken))


def timed(do: Callable[[], Result]) -> tuple[Result, float]:
    """What a call returns, and how many seconds it takes."""
    began = time.monotonic()
    result = do()
    return result, round(time.monotonic() - began, 1)


def save(measured: Measured) -> None:
    """Keep a result for the document."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / f"{measured.row}.json").write_bytes(msgspec.json.format(msgspec.json.encode(measured), indent=2))


def saved() -> dict[str, Measured]:
    """Every row's last result, by its name."""
    found = [msgspec.json.decode(file.read_bytes(), type=Measured) for file in RESULTS.glob("*.json")]
    return {each.row: each for each in found}
