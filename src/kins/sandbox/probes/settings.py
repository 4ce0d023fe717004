"""The kernel's settings below /proc/sys."""

from __future__ import annotations

from pathlib import Path

from kins.sandbox.probes.table import Values

# What the kubelet reads or writes at its start (pkg/kubelet/cm/container_manager_linux.go, setupKernelTunables), and
# forwarding between pods.
SYSCTLS = (
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "net/ipv4/ip_forward",
)


def sysctls(_: Path) -> dict[str, dict[str, object]]:
    """The settings' values, and whether they can be written: tried with the very same value."""
    return {name: _sysctl(Path("/proc/sys", name)) for name in SYSCTLS}


def _sysctl(path: Path) -> dict[str, object]:
    try:
        value = path.read_text()
    except OSError:
        return {"value": None, "writable": False}
    try:
        path.write_text(value)
    except OSError:
        return {"value": value.strip(), "writable": False}
    return {"value": value.strip(), "writable": True}


VALUES: Values = {"sysctls": (sysctls, {})}
