"""The kernel's settings below /proc/sys that node software reads or writes."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from kins.sandbox.probes.places import own_proc
from kins.sandbox.probes.table import Values

# pkg/kubelet/cm/container_manager_linux.go, setupKernelTunables
WRITTEN_BY_THE_KUBELET = (
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
)
# Forwarding between pods too, and what others' node software writes (k3s, kube-proxy, the CNI plugins, Docker).
WRITTEN = (
    *WRITTEN_BY_THE_KUBELET,
    "net/ipv4/ip_forward",
    "net/ipv4/conf/all/forwarding",
    "net/ipv4/conf/all/route_localnet",
    "net/ipv6/conf/all/forwarding",
    "net/bridge/bridge-nf-call-iptables",
    "net/netfilter/nf_conntrack_max",
)
# What is only read: by runc, containerd, the kubelet, the API server and CoreDNS.
READ = (
    "fs/file-max",
    "fs/inotify/max_user_instances",
    "fs/inotify/max_user_watches",
    "fs/nr_open",
    "kernel/cap_last_cap",
    "kernel/pid_max",
    "kernel/random/boot_id",
    "kernel/threads-max",
    "net/core/somaxconn",
    "net/ipv4/ip_local_port_range",
    "net/ipv4/ip_unprivileged_port_start",
    "net/ipv4/ping_group_range",
    "user/max_user_namespaces",
    "vm/max_map_count",
)
SETTINGS = Path("/proc/sys")
# Not kept: it names this very boot.
UNTOLD = "kernel/random/boot_id"


def sysctls(_: Path) -> dict[str, dict[str, object]]:
    """The settings' values, and whether they can be written.

    Where /proc/sys is mounted read-only, as in containers, that is asked of a procfs of its own: a node has one.
    """
    if os.statvfs(SETTINGS).f_flag & os.ST_RDONLY:
        own_proc()
    found = {name: _setting(SETTINGS / name, written=True) for name in WRITTEN}
    found |= {name: _setting(SETTINGS / name, written=False) for name in READ}
    if found[UNTOLD]["value"]:
        found[UNTOLD]["value"] = "(there)"
    return found


def _setting(path: Path, *, written: bool) -> dict[str, object]:
    try:
        value = path.read_text()
    except OSError:
        return {"value": None, "writable": False if written else None}
    return {"value": value.strip(), "writable": takes_numbers(path) if written else None}


def takes_numbers(setting: Path) -> bool:
    """Whether a setting can be written, asked without a change to it: by a word that is no number.

    Where a number would be taken, the answer is EINVAL (proc_dointvec in the kernel's kernel/sysctl.c; ParseInt32Vec
    in gVisor's pkg/sentry/fsimpl/proc). The value that was read is not what to try with: in gVisor each procfs keeps
    the last value that was written through it, so another one's old 0 would end a running cluster's forwarding.
    """
    try:
        setting.write_text("kins")
    except OSError as error:
        return error.errno == errno.EINVAL
    return True


NOTHING: dict[str, dict[str, object]] = {
    **{name: {"value": None, "writable": False} for name in WRITTEN},
    **{name: {"value": None, "writable": None} for name in READ},
}
VALUES: Values = {"sysctls": (sysctls, NOTHING)}
