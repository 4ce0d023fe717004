"""The sysctls that no namespace holds: what a test changes there, it changes for the whole machine."""

from __future__ import annotations

import fcntl
import json
from pathlib import Path
from typing import TextIO

from tests.harness.inside import SYSCTLS, sysctls

# Those below net/ belong to the network namespace.
PARTS = ("fs", "kernel", "vm")


class MachineSettings:
    """Remembers the machine's sysctls before the first environment, and puts them back after the last.

    Several processes of a test run share the file: its lock says whether there is another environment.
    """

    def __init__(self, file: Path, directory: str = SYSCTLS) -> None:
        self._path = file
        self._directory = directory
        self._file: TextIO | None = None

    def hold(self) -> None:
        """Say that there is an environment; the first one writes the sysctls down."""
        self._file = self._path.open("a+")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pass
        else:
            self._file.truncate(0)
            json.dump(sysctls(PARTS, self._directory), self._file)
            self._file.flush()
        fcntl.flock(self._file, fcntl.LOCK_SH)

    def release(self) -> None:
        """Say that the environment has ended; the last one restores the sysctls."""
        if self._file is None:
            return
        file, self._file = self._file, None
        with file:
            try:
                # Of several that come here at once exactly one is not refused: a refused one has lost its shared lock.
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            file.seek(0)
            self.restore(json.load(file))

    def restore(self, before: dict[str, str]) -> None:
        """Write back what is not as it was."""
        now = sysctls(PARTS, self._directory)
        for name, value in before.items():
            if now.get(name, value) != value:
                (Path(self._directory) / name).write_text(value)
