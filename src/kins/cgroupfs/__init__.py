"""Control groups as a FUSE file system, for kernels that have none or not enough of them (gVisor).

Here are the groups and their rules, their files, the figures from /proc, and the server (`python -m kins.cgroupfs`).
Not here: who starts it and mounts it where, and the tracer that makes readers take it for the kernel's (`rules` tells
what it must do).
"""

from kins.cgroupfs.views import rules

__all__ = ["rules"]
