"""A cluster's plan as a shell script: the same lists that the supervisor works off, in an order for a reader.

`functions.sh` is the part that is the same in every script. What a step, a file or a component is as shell, they know
themselves; what there is to do is not decided here (`kins.cluster.cluster_plan`).
"""

from kins.cluster.script.rendering import render

__all__ = ["render"]
