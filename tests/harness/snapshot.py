"""What an environment looked like at one moment, and how two moments differ."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import NamedTuple

# Run inside by its text: nothing is installed there for it.
PROGRAM = (Path(__file__).parent / "inside.py").read_text()

# The parts in which a directory comes or goes with all that is in it.
TREES = ("files", "control groups")


@dataclass(frozen=True)
class Snapshot:
    """Lines by part: mounts, links, addresses, processes and so on; see inside.py."""

    parts: Mapping[str, Sequence[str]]

    @classmethod
    def from_json(cls, text: str) -> Snapshot:
        """From the output of `PROGRAM`."""
        return cls(json.loads(text))

    def difference(self, later: Snapshot, ignoring: Sequence[str] = ()) -> str:
        """What a later moment lacks (-) and has in addition (+), line by line; empty if they are alike.

        Of a directory that is gone or new, what was or is below it is only counted.

        `ignoring` holds patterns for what may differ, as the difference shows it but without its sign:
        "files: /root/.cache/kins*", "mounts: /run/netns *".
        """
        changes = [
            Change(part, sign, line)
            for part in self.parts
            for sign, lines in (
                ("-", Counter(self.parts[part]) - Counter(later.parts[part])),
                ("+", Counter(later.parts[part]) - Counter(self.parts[part])),
            )
            for line in lines.elements()
            if not any(fnmatchcase(f"{part}: {line}", pattern) for pattern in ignoring)
        ]
        # By the line's first word, so that both forms of one thing stand together.
        order = {part: number for number, part in enumerate(self.parts)}
        changes.sort(key=lambda change: (order[change.part], change.subject, change.sign == "+", change.line))
        return "".join(f"{line}\n" for line in shown(changes))


class Change(NamedTuple):
    """A line that is gone (-) or new (+)."""

    part: str
    sign: str
    line: str

    @property
    def subject(self) -> str:
        """What the line is about: its first word, a path in most parts."""
        return self.line.partition(" ")[0]


def shown(changes: Sequence[Change]) -> list[str]:
    """The changes as lines of text; see Snapshot.difference."""
    signs = Counter((change.part, change.subject) for change in changes)
    below: dict[Change, int] = {}
    lines = []
    for change in changes:
        above = (Change(change.part, change.sign, str(path)) for path in PurePosixPath(change.subject).parents)
        top = next((directory for directory in above if directory in below), None)
        if top:
            below[top] += 1
            continue
        lines.append(change)
        # A directory that has only changed is both gone and new, and says nothing about what is below it.
        if change.part in TREES and signs[change.part, change.subject] == 1:
            below[change._replace(line=change.subject)] = 0
    return [f"{change.sign} {change.part}: {change.line}{counted(change, below)}" for change in lines]


def counted(change: Change, below: dict[Change, int]) -> str:
    """What a line says about the changes that it stands for."""
    count = below.get(change._replace(line=change.subject))
    return f" (and {count} below)" if count else ""
