"""Where a journal was written: which start of the machine, and which network namespace."""

from __future__ import annotations

from typing import Self

import msgspec

from kins.plan.step import Step
from kins.sys import namespaces, process


class Origin(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The head of a journal. After a restart of the machine, or in another network namespace, there may be links,
    addresses and settings of the names and values that the steps have, and they are somebody else's."""

    boot: str
    network: str

    @classmethod
    def here(cls) -> Self:
        """Those of this process."""
        return cls(boot=process.boot(), network=namespaces.network_identity())

    def undo(self, step: Step) -> None:
        """Undo a step of that journal, wherever what it made still is. Raises OSError."""
        if step.scope == "files":
            step.undo()
        elif not process.is_this_boot(self.boot):
            return  # what lives in the kernel ended with it
        elif step.scope == "kernel" or self.network == namespaces.network_identity():
            step.undo()
        else:
            namespaces.run_in_network(self.network, step.undo)
