"""What the sandbox can do: probes, the Facts they give, the level that follows.

A probe does the thing in a throw-away process and namespace and undoes it; it never looks at a version. Nothing here
changes the sandbox: that is for steps (`kins.plan`).
"""

from kins.sandbox.facts import Answer, Facts
from kins.sandbox.inside import probe
from kins.sandbox.levels import Choice, Lack, choose

__all__ = ["Answer", "Choice", "Facts", "Lack", "choose", "probe"]
