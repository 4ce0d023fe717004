"""Reversible steps, and the journal that remembers them.

Here live the `Step` contract, the library of steps (directories, files, mounts, links, sysctls, control groups) and the
`Journal`. What to do in which sandbox is not decided here: `kins.sandbox` knows the facts and `kins.cluster` makes
the plan.
"""

from kins.plan.journal import Journal
from kins.plan.steps import AnyStep

__all__ = ["AnyStep", "Journal"]
