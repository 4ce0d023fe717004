"""What an environment looked like at one moment, and how two moments differ."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

# Run inside by its text: nothing is installed there for it.
PROGRAM = (Path(__file__).parent / "inside.py").read_text()


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

        `ignoring` holds patterns for what may differ, as the difference shows it but without its sign:
        "files: /root/.cache/kins*", "mounts: /run/netns *".
        """
        changes = [
            (part, line, sign)
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
        changes.sort(key=lambda change: (order[change[0]], change[1].split(" ")[0], change[2] == "+", change[1]))
        return "".join(f"{sign} {part}: {line}\n" for part, line, sign in changes)
