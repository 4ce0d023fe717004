"""Steps that make directories and files of the sandbox's own file system."""

from __future__ import annotations

import contextlib
import os
import shlex
import stat
from pathlib import Path
from typing import Self

import msgspec

from kins.plan.step import Step


class MakeDirectory(Step, frozen=True, kw_only=True):
    """`mkdir -p`; `created` lists, outermost first, the directories that were missing."""

    path: str
    created: tuple[str, ...] = ()

    def describe(self) -> str:
        return f"mkdir -p {shlex.quote(self.path)}"

    def note(self) -> str:
        return f"note_directories {shlex.quote(self.path)}"

    def prepare(self) -> Self | None:
        path = Path(self.path)
        missing = [str(place) for place in (*reversed(path.parents), path) if not place.exists()]
        return msgspec.structs.replace(self, created=tuple(missing)) if missing else None

    def execute(self) -> None:
        for directory in self.created:
            Path(directory).mkdir(exist_ok=True)

    def undo(self) -> None:
        for directory in reversed(self.created):
            try:
                Path(directory).rmdir()
            except FileNotFoundError:
                continue
            except OSError:
                # Somebody else put something there since: it is theirs, and so are the directories above it.
                return


class CreateFile(Step, frozen=True, kw_only=True):
    """A small file where there is none; an existing one is left as it is.

    Undoing removes it as it was written, or as far as that came. Another one at its place is somebody else's: after a
    restart of the machine /dev/kmsg may be the kernel's own.
    """

    path: str
    content: str = ""
    mode: int = 0o644

    def describe(self) -> str:
        path = shlex.quote(self.path)
        mode = f" && chmod {self.mode:o} {path}" if self.mode != 0o644 else ""
        return f"[ -e {path} ] || {{ {self._says()} > {path}{mode}; }}"

    def _says(self) -> str:
        if not self.content:
            return ":"
        if self.content.find("\n") == len(self.content) - 1:
            return f"echo {shlex.quote(self.content[:-1])}"
        return f"printf %s {shlex.quote(self.content)}"

    def note(self) -> str:
        path = shlex.quote(self.path)
        return f"[ -e {path} ] || note {shlex.quote(f'rm -f {path}')}"

    def prepare(self) -> Self | None:
        return None if Path(self.path).exists() else self

    def execute(self) -> None:
        path = Path(self.path)
        path.write_text(self.content)
        path.chmod(self.mode)

    def undo(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            if self._is_ours():
                Path(self.path).unlink()

    def _is_ours(self) -> bool:
        """Raises FileNotFoundError, OSError."""
        if not stat.S_ISREG(os.lstat(self.path).st_mode):
            return False
        with open(self.path, "rb") as file:
            return self.content.encode().startswith(file.read(len(self.content.encode()) + 1))
