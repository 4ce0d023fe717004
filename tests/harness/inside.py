"""What an environment looks like, told by a program that runs inside it with Python's standard library alone.

Each part is a list of lines, made so that the lines of two moments can be compared: without numbers that grow by
themselves and without what this program itself adds.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
import os
import socket
import stat
import struct
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

PLACES = ("/dev", "/etc", "/home", "/mnt", "/opt", "/root", "/run", "/srv", "/tmp", "/usr/local", "/var")

# Where the content of a file matters; elsewhere its size must do.
READ_PLACES = ("/etc/", "/home/", "/root/", "/run/")
READ_LIMIT = 1 << 20

# Terminals come and go with the commands of the tests.
UNWATCHED_FILES = ("/dev/pts/*",)

SYSCTLS = "/proc/sys"

# Counters, clocks, random numbers, one-shot commands; the kernel's own tuning; what goes with a network link.
UNWATCHED_SYSCTLS = (
    "fs/aio-nr",
    "fs/dentry-state",
    "fs/file-nr",
    "fs/inode-nr",
    "fs/inode-state",
    "fs/quota/*",
    "kernel/ns_last_pid",
    "kernel/perf_event_max_sample_rate",
    "kernel/pty/nr",
    "kernel/random/*",
    "net/core/netdev_rss_key",
    "net/ipv4/neigh/*",
    "net/ipv4/conf/*",
    "net/ipv6/neigh/*",
    "net/ipv6/conf/*",
    "net/netfilter/nf_conntrack_count",
    "vm/stat_refresh",
)
WATCHED_SYSCTLS = ("net/ipv[46]/conf/all/*", "net/ipv[46]/conf/default/*", "net/ipv[46]/neigh/default/*")

# rtnetlink(7), linux/if_link.h: requests for all links, addresses, routes, and the attributes that are read.
GET_LINKS, GET_ADDRESSES, GET_ROUTES = 18, 22, 26
REQUEST_ALL = 0x301
MESSAGE_ERROR, MESSAGE_DONE = 2, 3
LINK_MTU, LINK_NAME, LINK_MASTER, LINK_INFORMATION = 4, 3, 10, 18
INFORMATION_KIND = 1
ADDRESS, ADDRESS_LOCAL = 1, 2
ROUTE_TARGET, ROUTE_LINK, ROUTE_GATEWAY, ROUTE_TABLE = 1, 4, 5, 15
FLAG_UP = 1
LISTENING = "0A"
FIRST_PROCESS = 1


def mounts() -> list[str]:
    """The mount table, without numbers: mount point, type, options, propagation, source."""
    lines = []
    for line in read("/proc/self/mountinfo").splitlines():
        mount, _, rest = line.partition(" - ")
        _, _, _, root, point, options, *optional = mount.split()
        kind, source, of_super = (*rest.split(), "")[:3]
        propagation = ",".join(field.partition(":")[0] for field in optional) or "private"
        lines.append(f"{point} {kind} of {source} from {root} {options} {of_super} {propagation}")
    return lines


def links() -> list[str]:
    """The network links."""
    names = dict(socket.if_nameindex())
    lines = []
    for body in netlink(GET_LINKS):
        (flags,) = struct.unpack_from("=I", body, 8)
        found = attributes(body[16:])
        kind = attributes(found.get(LINK_INFORMATION, b"")).get(INFORMATION_KIND, b"").rstrip(b"\0").decode()
        master = names.get(number(found[LINK_MASTER])) if LINK_MASTER in found else None
        name = found[LINK_NAME].rstrip(b"\0").decode()
        state = "up" if flags & FLAG_UP else "down"
        lines.append(f"{name} {kind or 'device'} {state} mtu {number(found[LINK_MTU])} master {master}")
    return lines


def addresses() -> list[str]:
    """The network addresses."""
    names = dict(socket.if_nameindex())
    lines = []
    for body in netlink(GET_ADDRESSES):
        family, length, _, _, index = struct.unpack_from("=BBBBI", body)
        found = attributes(body[8:])
        lines.append(f"{names.get(index)} {address(family, found.get(ADDRESS_LOCAL, found.get(ADDRESS)))}/{length}")
    return lines


def routes() -> list[str]:
    """The routes of every table."""
    names = dict(socket.if_nameindex())
    lines = []
    for body in netlink(GET_ROUTES):
        family, length, _, _, table, _, _, kind = struct.unpack_from("=8B", body)
        found = attributes(body[12:])
        target = address(family, found.get(ROUTE_TARGET))
        link = names.get(number(found[ROUTE_LINK])) if ROUTE_LINK in found else None
        table = number(found[ROUTE_TABLE]) if ROUTE_TABLE in found else table
        gateway = address(family, found.get(ROUTE_GATEWAY))
        lines.append(f"table {table} type {kind} {target}/{length} via {gateway} on {link}")
    return lines


def netlink(kind: int) -> Iterator[bytes]:
    """The messages that answer a request for all of something, without their headers."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as asked:
        # 20 bytes of zeroes are a body of any of the three kinds: any family, no filter.
        asked.settimeout(10)
        asked.sendall(struct.pack("=IHHII", 36, kind, REQUEST_ALL, 1, 0) + bytes(20))
        while True:
            answer = asked.recv(1 << 20)
            while answer:
                length, answered = struct.unpack_from("=IH", answer)
                if answered == MESSAGE_DONE:
                    return
                if answered == MESSAGE_ERROR:
                    raise OSError(-struct.unpack_from("=i", answer, 16)[0], "netlink")
                yield answer[16:length]
                answer = answer[(length + 3) & ~3 :]


def attributes(content: bytes) -> dict[int, bytes]:
    """The attributes of a message, by their number."""
    found = {}
    while len(content) >= 4:
        length, kind = struct.unpack_from("=HH", content)
        found[kind & 0x3FFF] = content[4:length]
        content = content[max(4, (length + 3) & ~3) :]
    return found


def number(content: bytes) -> int:
    """An attribute of 32 bits."""
    value: int = struct.unpack_from("=I", content)[0]
    return value


def address(family: int, content: bytes | None) -> str:
    """An address as people write it."""
    return socket.inet_ntop(family, content) if content else "none"


def processes() -> list[str]:
    """All processes but this one and those that it was started by, from the first process on."""
    own = set()
    pid = os.getpid()
    while pid > FIRST_PROCESS:
        own.add(pid)
        pid = int(status_of(pid)[1])
    listed = sorted(int(name) for name in os.listdir("/proc") if name.isdigit())
    lines = []
    for pid in listed:
        if pid in own:
            continue
        try:
            command = read(f"/proc/{pid}/cmdline").rstrip("\0").replace("\0", " ").replace("\n", " ")
            state, _ = status_of(pid)
            name = read(f"/proc/{pid}/comm").strip()
        except (FileNotFoundError, ProcessLookupError):
            continue
        lines.append(f"{pid} {'zombie ' if state == 'Z' else ''}{name}: {command[:200]}")
    return lines


def status_of(pid: int) -> tuple[str, str]:
    """State and parent of a process."""
    state, parent, *_ = read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return state, parent


def control_groups() -> list[str]:
    """The directories of every mounted hierarchy; in gVisor also a line for each group of unmounted ones."""
    lines = [
        os.path.join(directory, name) for directory, directories, _ in os.walk("/sys/fs/cgroup") for name in directories
    ]
    if "gvisor" in read("/proc/version").lower():
        # On Linux this number counts removed groups too, for as long as memory of theirs is in use.
        for line in read("/proc/cgroups").splitlines()[1:]:
            controller, _, count, _ = line.split()
            lines += [f"{controller} has group {order}" for order in range(1, int(count) + 1)]
    return lines


def unix_sockets() -> list[str]:
    """The unix sockets that have a name, with the file or abstract."""
    lines = []
    for line in read("/proc/net/unix").splitlines()[1:]:
        fields = line.split(maxsplit=7)
        if len(fields) == 8:
            lines.append(f"{fields[7]} type {fields[4]} flags {fields[3]}")
    return lines


def listeners() -> list[str]:
    """The TCP ports that something listens on and the bound UDP ports, addresses as the kernel prints them."""
    lines = []
    for protocol in ("tcp", "tcp6", "udp", "udp6"):
        path = f"/proc/net/{protocol}"
        for line in read(path).splitlines()[1:] if os.path.exists(path) else ():
            _, local, _, state, *_ = line.split()
            if protocol.startswith("udp") or state == LISTENING:
                host, _, port = local.rpartition(":")
                lines.append(f"{protocol} {host} port {int(port, 16)}")
    return lines


def files() -> list[str]:
    """Every file at `PLACES`, with type, mode, owner, size; and what lies directly in the root directory."""
    lines = [described(os.path.join("/", name)) for name in os.listdir("/")]
    for place in PLACES:
        for directory, directories, names in os.walk(place):
            paths = [os.path.join(directory, name) for name in directories + names]
            lines += [described(path) for path in paths if not matches(path, UNWATCHED_FILES)]
    return [line for line in lines if line]


def described(path: str) -> str:
    """One file in one line; empty if it is gone."""
    try:
        found = os.lstat(path)
        line = f"{path} {stat.filemode(found.st_mode)} {found.st_uid}:{found.st_gid}"
        if stat.S_ISLNK(found.st_mode):
            return f"{line} to {os.readlink(path)}"
        if not stat.S_ISREG(found.st_mode):
            return line
        line = f"{line} {found.st_size} bytes"
        if path.startswith(READ_PLACES) and found.st_size <= READ_LIMIT:
            with open(path, "rb") as file:
                line = f"{line} {hashlib.sha256(file.read()).hexdigest()[:12]}"
        return line
    except FileNotFoundError:
        return ""


def sysctls(parts: Sequence[str] = ("",), root: str = SYSCTLS) -> dict[str, str]:
    """The sysctls in some parts of /proc/sys, by their paths there, that can be read and stay as they are."""
    found = {}
    for part in parts:
        for directory, _, names in os.walk(os.path.join(root, part)):
            for name in names:
                path = os.path.relpath(os.path.join(directory, name), root)
                if matches(path, UNWATCHED_SYSCTLS) and not matches(path, WATCHED_SYSCTLS):
                    continue
                try:
                    found[path] = read(os.path.join(root, path)).rstrip("\n")
                except OSError:
                    # Some can only be written, some belong to hardware that is not there.
                    continue
    return found


def matches(name: str, patterns: Sequence[str]) -> bool:
    """Whether a name fits one of the patterns; `*` matches slashes too."""
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def read(path: str) -> str:
    """The text of a file."""
    return Path(path).read_text(errors="replace")


def everything() -> dict[str, list[str]]:
    """All parts, by their names."""
    return {
        "mounts": mounts(),
        "links": links(),
        "addresses": addresses(),
        "routes": routes(),
        "listeners": listeners(),
        "unix sockets": unix_sockets(),
        "processes": processes(),
        "control groups": control_groups(),
        "sysctls": [f"{name} = {value}" for name, value in sysctls().items()],
        "files": files(),
    }


if __name__ == "__main__":
    json.dump(everything(), sys.stdout)
