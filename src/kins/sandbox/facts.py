"""The answers of the probes as plain data. Every later decision names the fact it rests on by its field's name."""

from __future__ import annotations

from typing import Literal

import msgspec

from kins.sys.user_namespaces import ALL_IDENTITIES

VERSION = 3


class Answer(msgspec.Struct, frozen=True):
    """Whether a thing works here, and the kernel's own word when it does not."""

    works: bool
    cause: str = ""


class Sysctl(msgspec.Struct, frozen=True):
    """A setting below /proc/sys: its value (None: there is no such file) and whether it can be written."""

    value: str | None
    # None: not tried, because nobody writes it
    writable: bool | None


class FileSystem(msgspec.Struct, frozen=True):
    """What a directory lies on: the kind that the mount table names, statfs(2)'s f_type, size and free space for us in
    bytes, and whether a file could be made."""

    kind: str
    magic: int
    size: int
    free: int
    writable: bool


UNASKED = Answer(False, "not asked")
NEEDLESS = Answer(False, "needed only where the sandbox itself carries no node with a pod network")

# `silent`: nothing came back in time; `unreachable`: the kernel says that nobody is there.
Resolver = Literal["answers", "silent", "unreachable"]


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """One sandbox. Sizes in bytes; ranges and addresses in CIDR notation; paths absolute."""

    version: int = VERSION
    uid: int
    capabilities: int
    memory: int
    cores: int
    # statfs(2)'s f_type of the directory that holds the clusters
    data_type: int
    # new mount, pid, ipc and uts namespaces, the first process of which may mount /proc
    namespaces: Answer
    # shared and private mounts, tmpfs, bind mounts
    mounts: Answer
    overlay_on_data: Answer
    overlay_on_tmpfs: Answer
    # a writable view of /proc/sys where it lacks files that the node software writes
    overlay_on_proc_sys: Answer
    kernel_messages: Answer
    unix_sockets: Answer
    # a new network namespace with IPv4, joined to this one's like a pod's: bridge and veth
    pod_network: Answer
    # where that is missing: any address of loopback can be had, and a network namespace to do nothing with
    loopback_addresses: Answer = Answer(False, "not asked")
    # a device whose packets a program takes and gives, in a pod's network namespace
    tun: Answer
    # system calls of a process tree can be answered by a tracer
    interception: Answer
    # controllers of mounted hierarchies by mount point (cgroups(7)), named ones as `name=systemd`
    control_groups_v1: dict[str, tuple[str, ...]]
    control_groups_v1_mountable: tuple[str, ...]
    control_groups_v2: str | None
    control_groups_v2_controllers: tuple[str, ...]
    # cpuacct.usage_percpu of the root group; without it cAdvisor has no statistics of the root at all
    usage_per_cpu: bool
    sysctls: dict[str, Sysctl]
    has_hosts_file: bool
    # what came of a question to each nameserver of /etc/resolv.conf (resolv.conf(5))
    resolvers: dict[str, Resolver]
    # programs that the kubelet calls
    programs: dict[str, bool]
    used_ranges: tuple[str, ...]

    # Below: since version 3. Defaults are for records of before.
    # how many user ids, and group ids, the sandbox's user namespace maps (user_namespaces(7)); usually all there are
    identities: int = ALL_IDENTITIES
    # uname(2)'s release, which containerd goes by
    kernel_release: str = ""
    # RLIMIT_NOFILE, hard; -1 for none
    descriptors: int = -1
    # by directory: `/`, `/tmp` and so on, and `data`, which holds the clusters
    file_systems: dict[str, FileSystem] = {}
    # directories of the system, of those in which a node makes something, that cannot be written
    unwritable: tuple[str, ...] = ()
    # a program executed by way of symbolic links
    linked_programs: Answer = UNASKED
    mount_namespace: Answer = UNASKED
    pid_namespace: Answer = UNASKED
    network_namespace: Answer = UNASKED
    ipc_namespace: Answer = UNASKED
    uts_namespace: Answer = UNASKED
    # setns(2) into a namespace that was left
    entering_namespaces: Answer = UNASKED
    pivot_root: Answer = UNASKED
    # a mount below a shared one shows at its bind, one below a private one does not
    propagation: Answer = UNASKED
    # whether the mount at `/` is a shared one as it is
    root_shared: bool = False
    # the tmpfs with one inode that runc puts over masked directories (libcontainer/rootfs_linux.go, maskPath)
    masking: Answer = UNASKED
    # a group of one's own in each hierarchy that is mounted
    control_group_creation: Answer = Answer(True)
    # controllers handed on to a group below one's own in the v2 hierarchy
    control_group_delegation: Answer = UNASKED
    bridge: Answer = UNASKED
    veth: Answer = UNASKED
    # a whole range on `lo` becomes local: Services
    ranges_on_loopback: Answer = UNASKED
    # an address, a link that is up and a default route by way of a gateway, as a pod has them
    routes: Answer = UNASKED
    forwarding: Answer = UNASKED
    # targets and matches that the sandbox's own iptables program can use; empty without the program
    iptables: dict[str, bool] = {}
    fuse: Answer = UNASKED
    # what a filter can do with a call: errno, trap, kill, log
    seccomp: dict[str, bool] = {}
    ptrace: Answer = UNASKED
    seccomp_trace: Answer = UNASKED
    seccomp_notify: Answer = UNASKED
    # which of a filter and the stop at a call's entry comes first: `seccomp-first`, `enter-first`; empty: not known
    seccomp_order: str = ""
    has_resolver_file: bool = True
    # names of proxy variables that are set; their values may hold passwords
    proxies: tuple[str, ...] = ()
    # variables and directories that add certificate authorities
    authorities: tuple[str, ...] = ()
    # programs that others' node software, or a helper of ours, would use
    other_programs: dict[str, bool] = {}
    # a user namespace of our own, in which the probes could be run again
    user_namespace: Answer = NEEDLESS
    # their answers there; asked where the sandbox itself carries no such node
    inside: Facts | None = None
    # whose network they were asked in: one of the user namespace's own, or the sandbox's where such ones have no IPv4
    network_inside: Literal["own", "sandbox"] = "own"
