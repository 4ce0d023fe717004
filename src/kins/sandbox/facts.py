"""The answers of the probes as plain data. Every later decision names the fact it rests on by its field's name."""

from __future__ import annotations

from typing import Literal

import msgspec

VERSION = 3


class Answer(msgspec.Struct, frozen=True):
    """Whether a thing works here, and the kernel's own word when it does not."""

    works: bool
    cause: str = ""


class Sysctl(msgspec.Struct, frozen=True):
    """A setting below /proc/sys: its value (None: there is no such file) and whether it can be written."""

    value: str | None
    writable: bool


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
