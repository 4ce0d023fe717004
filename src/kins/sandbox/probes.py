"""One small function per fact. Each runs in a forked process of its own and may do there what it likes.

A probe returns plain JSON data. OSError means that the thing does not work, and why.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import shutil
import signal
import socket
import time
from pathlib import Path

from kins.sys import interception as tracing
from kins.sys import mounts, namespaces, netlink, process
from kins.sys.tun import open_tun

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
CONTROLLERS = (
    "cpu",
    "cpuacct",
    "cpuset",
    "devices",
    "memory",
    "pids",
    "blkio",
    "freezer",
    "hugetlb",
    "net_cls",
    "perf_event",
)
PROGRAMS = ("mount", "umount")
RESOLVER_FILE = "/etc/resolv.conf"
DNS_PORT = 53
# RFC 1035, 4.1: identity 0, recursion desired, one question: the name servers (2) of the root in class IN (1).
ROOT_QUESTION = bytes.fromhex("0000 0100 0001 0000 0000 0000 00 0002 0001")
# Every resolver knows the root: a recursive one answers within milliseconds, or is far away and busy.
RESOLVER_SECONDS = 1.0


def identity(_: Path) -> dict[str, int]:
    """Who we are and what the machine has."""
    return {
        "uid": os.getuid(),
        "capabilities": process.effective_capabilities(),
        "memory": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        "cores": len(os.sched_getaffinity(0)),
    }


def data_type(scratch: Path) -> int:
    """The type of the file system that holds the clusters."""
    return mounts.filesystem_type(scratch)


def private_namespaces(_: Path) -> None:
    """Become, in a child, the first process of the node's namespaces, and mount its /proc."""
    kinds = namespaces.CLONE_NEWNS | namespaces.CLONE_NEWPID | namespaces.CLONE_NEWIPC | namespaces.CLONE_NEWUTS
    namespaces.unshare(kinds)
    mounts.make_private("/", recursive=True)
    child = os.fork()
    if child == 0:
        # What fails here is told by the exit status: there is no second pipe.
        try:
            mounts.mount("proc", "/proc", "proc")
        except OSError as error:
            os._exit(error.errno or 1)
        os._exit(0 if os.getpid() == 1 else 1)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code:
        raise OSError(code, f"mounting /proc in a new pid namespace: {os.strerror(abs(code))}")


def mount_kinds(scratch: Path) -> None:
    """tmpfs, bind, shared and private mounts."""
    _private_mounts()
    source, target = _directories(_tmpfs(scratch), "source", "target")
    mounts.bind(str(source), str(target))
    mounts.make_shared(str(target))
    mounts.make_private(str(target))
    mounts.unmount(str(target), lazy=True)


def overlay_on_data(scratch: Path) -> None:
    """An overlay whose upper directory is on the disk of the clusters."""
    _private_mounts()
    _overlay(scratch, str(_directories(scratch, "lower")[0]), scratch / "merged")


def overlay_on_tmpfs(scratch: Path) -> None:
    """An overlay whose upper directory is on tmpfs, over a lower one on tmpfs."""
    _private_mounts()
    place = _tmpfs(scratch)
    _overlay(place, str(_directories(place, "lower")[0]), place / "merged")


def overlay_on_proc_sys(scratch: Path) -> None:
    """An overlay over /proc/sys in which a file can be made."""
    _private_mounts()
    _overlay(_tmpfs(scratch), "/proc/sys", Path("/proc/sys"))


def kernel_messages(_: Path) -> None:
    """The kubelet's out-of-memory watcher opens /dev/kmsg and ends the kubelet without it."""
    os.close(os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK))


def unix_sockets(scratch: Path) -> None:
    """A socket of the file system that can be connected to."""
    path = str(scratch / "socket")
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind(path)
        server.listen()
        client.connect(path)


def pod_network(_: Path) -> None:
    """Bridge, veth and addresses, tried in a new network namespace: the sandbox's own is not touched.

    Where that has no IPv4, as in gVisor with the host's network, sockets fail with EAFNOSUPPORT.
    """
    namespaces.unshare(namespaces.CLONE_NEWNET)
    socket.socket(socket.AF_INET, socket.SOCK_STREAM).close()
    netlink.create_bridge("probe-bridge")
    netlink.add_address("probe-bridge", "10.42.0.1/16")
    netlink.create_veth("probe-host", "probe-pod")
    netlink.set_up("probe-bridge")
    netlink.set_up("probe-host")


def tun(_: Path) -> None:
    """A tun device in a new network namespace."""
    namespaces.unshare(namespaces.CLONE_NEWNET)
    os.close(open_tun("probe-tun"))


def interception(_: Path) -> None:
    """What the tracer finds out by tracing: ptrace with seccomp, or seccomp's own notifications."""
    if cause := tracing.refusal(tracing.support()):
        raise OSError(cause)


def control_groups_v1(_: Path) -> dict[str, list[str]]:
    """Mounted v1 hierarchies with their controllers, which stand among the super block's options."""
    found = {}
    for entry in mounts.mount_table():
        if entry.kind == "cgroup":
            options = entry.super_options.split(",")
            found[entry.target] = [option for option in options if option in CONTROLLERS or option.startswith("name=")]
    return found


def control_groups_v1_mountable(scratch: Path) -> list[str]:
    """Controllers of which a v1 hierarchy can be mounted; not asked where hierarchies are mounted already.

    There a mount would take controllers away from the v2 hierarchy for a moment, and nobody needs the answer.
    """
    if control_groups_v1(scratch) or control_groups_v2(scratch):
        return []
    _private_mounts()
    place = _tmpfs(scratch)
    found = []
    for controller in CONTROLLERS:
        try:
            mounts.mount("cgroup", str(_directories(place, controller)[0]), "cgroup", 0, controller)
        except OSError:
            continue
        found.append(controller)
    return found


def control_groups_v2(_: Path) -> tuple[str, list[str]] | None:
    """Where the v2 hierarchy is mounted, and what it controls there."""
    for entry in mounts.mount_table():
        if entry.kind == "cgroup2":
            return entry.target, Path(entry.target, "cgroup.controllers").read_text().split()
    return None


def usage_per_cpu(scratch: Path) -> bool:
    """Whether the cpuacct controller has the per-cpu file, in a mounted or a fresh hierarchy."""
    for target, controllers in control_groups_v1(scratch).items():
        if "cpuacct" in controllers:
            return Path(target, "cpuacct.usage_percpu").exists()
    _private_mounts()
    place = _directories(_tmpfs(scratch), "cpuacct")[0]
    mounts.mount("cgroup", str(place), "cgroup", 0, "cpuacct")
    return (place / "cpuacct.usage_percpu").exists()


def sysctls(_: Path) -> dict[str, dict[str, object]]:
    """The settings' values, and whether they can be written: tried with the very same value."""
    return {name: _sysctl(Path("/proc/sys", name)) for name in SYSCTLS}


def has_hosts_file(_: Path) -> bool:
    """containerd copies /etc/hosts into each pod and fails without it."""
    return Path("/etc/hosts").is_file()


def resolvers(_: Path) -> dict[str, str]:
    """Each nameserver that the sandbox's own programs ask, and what came of a question to it."""
    try:
        text = Path(RESOLVER_FILE).read_text()
    except FileNotFoundError:
        return {}
    with contextlib.ExitStack() as sockets:
        asked = {address: _ask_resolver(address, sockets) for address in nameservers(text)}
        deadline = time.monotonic() + RESOLVER_SECONDS
        return {address: _answer_of(resolver, deadline) for address, resolver in asked.items()}


def nameservers(text: str) -> list[str]:
    """The addresses in a resolv.conf(5), without those that need a link besides (fe80::1%eth0)."""
    lines = [line.split() for line in text.splitlines()]
    found = [line[1] for line in lines if line[:1] == ["nameserver"] and len(line) > 1]
    return [address for address in dict.fromkeys(found) if _is_address(address)]


def _is_address(text: str) -> bool:
    try:
        return getattr(ipaddress.ip_address(text), "scope_id", None) is None
    except ValueError:
        return False


def _ask_resolver(address: str, sockets: contextlib.ExitStack) -> socket.socket | None:
    """The socket on which the answer will come; None where the question cannot even be sent."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        asked = sockets.enter_context(socket.socket(family, socket.SOCK_DGRAM))
        asked.connect((address, DNS_PORT))
        asked.send(ROOT_QUESTION)
    except OSError:
        return None
    return asked


def _answer_of(asked: socket.socket | None, deadline: float) -> str:
    """Whatever it answers, it is there."""
    if asked is None:
        return "unreachable"
    asked.settimeout(max(deadline - time.monotonic(), 0.001))
    try:
        asked.recv(512)
    except TimeoutError:
        return "silent"
    except OSError:
        return "unreachable"
    return "answers"


def programs(_: Path) -> dict[str, bool]:
    """Whether the programs are there that the kubelet calls."""
    return {name: shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin") is not None for name in PROGRAMS}


def used_ranges(_: Path) -> list[str]:
    """Addresses and destinations that this network namespace knows."""
    return sorted({*netlink.addresses(), *netlink.routes()})


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


def _private_mounts() -> None:
    namespaces.unshare(namespaces.CLONE_NEWNS)
    mounts.make_private("/", recursive=True)


def _tmpfs(scratch: Path) -> Path:
    mounts.mount("probe", str(scratch), "tmpfs")
    return scratch


def _directories(place: Path, *names: str) -> list[Path]:
    made = [place / name for name in names]
    for directory in made:
        directory.mkdir(exist_ok=True)
    return made


def _overlay(place: Path, lower: str, target: Path) -> None:
    """Mount an overlay with its upper directory at `place` and make a file in it."""
    upper, work = _directories(place, "upper", "work")
    if not target.exists():
        target.mkdir()
    options = f"lowerdir={lower},upperdir={upper},workdir={work}"
    try:
        # Without `volatile` Linux syncs the whole disk when the overlay goes: 0.4 s.
        mounts.mount("probe", str(target), "overlay", 0, f"{options},volatile")
    except OSError:
        mounts.mount("probe", str(target), "overlay", 0, options)
    (target / "probe").write_text("")


def become_harmless() -> None:
    """What a forked probe does first: die by the signals that its parent handles."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
