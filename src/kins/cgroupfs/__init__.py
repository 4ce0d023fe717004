"""Control groups as a FUSE file system, for kernels that have none or not enough of them (gVisor).

Here are the groups and their rules, their files, the figures from /proc, and the server (`python -m kins.cgroupfs`).
Not here: who starts it and mounts it where, and the tracer that makes readers take it for the kernel's (`rules` tells
what it must do).
"""

from kins.cgroupfs.views import rules

# For whoever reads the groups, containerd and kubelet and what they start. In gVisor a signal ends a request to a FUSE
# server with EINTR, and Go's runtime sends itself signals all the time to take turns. Upstream's libraries take it for
# the answer ("openat2 …: interrupted system call"): one container start in twelve failed, and none with this.
READERS_ENVIRONMENT = {"GODEBUG": "asyncpreemptoff=1"}

__all__ = ["READERS_ENVIRONMENT", "rules"]
