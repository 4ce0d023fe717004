"""What every step can do."""

from __future__ import annotations

from typing import Literal, Self

import msgspec

# Where a step's effect is, and with what it ends at the latest: never, with the machine, with a network namespace.
Scope = Literal["files", "kernel", "network"]


class Step(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """One reversible change of the sandbox.

    `because` names the fact or the upstream need that asks for it. A step is data: the journal stores it before it is
    executed, and `undo` must work from that data alone, in another process, however far `execute` came.
    """

    because: str

    @property
    def scope(self) -> Scope:
        """Where its effect is."""
        return "files"

    def describe(self) -> str:
        """The step as a line of shell that does the same."""
        raise NotImplementedError

    def note(self) -> str:
        """A line of shell that notes how to take the change back, before it is made, or nothing.

        It calls functions of the scripts that `kins plan` prints (`kins.cluster.script`).
        """
        return ""

    def prepare(self) -> Self | None:
        """The step with what `undo` must know about the present state, or None when there is nothing to do."""
        return self

    def execute(self) -> None:
        """Make the change. Raises OSError."""
        raise NotImplementedError

    def undo(self) -> None:
        """Take the change back. What is gone already is no error. Raises OSError."""
        raise NotImplementedError


class NamespaceStep(Step, frozen=True, kw_only=True):
    """A step whose effect ends with the node's mount namespace: the kernel undoes it, whatever else happened."""

    def undo(self) -> None:
        """Nothing to do: the mount went with its namespace."""
