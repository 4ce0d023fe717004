"""What the facts of a sandbox mean, for people: each explained, the level that follows, what is one thing away.

Nothing here asks the sandbox or changes it: facts in, sentences out.
"""

from kins.sandbox.doctor.alternatives import Alternative, alternatives
from kins.sandbox.doctor.anonymous import anonymous
from kins.sandbox.doctor.blockers import KnownBlocker, known_blockers
from kins.sandbox.doctor.explanations import EXPLANATIONS, findings
from kins.sandbox.doctor.model import Finding

__all__ = [
    "EXPLANATIONS",
    "Alternative",
    "Finding",
    "KnownBlocker",
    "alternatives",
    "anonymous",
    "findings",
    "known_blockers",
]
