"""Names for the file systems' types that statfs(2) answers as f_type (linux/magic.h)."""

from __future__ import annotations

from kins.sys import mounts

# A gofer of gVisor answers with Linux' 9p value.
TYPES = {
    "9p": mounts.GOFER_9P,
    "bpf": 0xCAFE4A11,
    "btrfs": 0x9123683E,
    "ceph": 0x00C36400,
    "cgroup": mounts.CGROUP_V1,
    "cgroup2": mounts.CGROUP_V2,
    "cifs": 0xFF534D42,
    "debugfs": 0x64626720,
    "devpts": 0x1CD1,
    "erofs": 0xE0F5E1E2,
    "ext4": mounts.EXT4,
    "f2fs": 0xF2F52010,
    "fuse": 0x65735546,
    "hugetlbfs": 0x958458F6,
    "mqueue": 0x19800202,
    "nfs": 0x6969,
    "overlay": mounts.OVERLAY,
    "proc": 0x9FA0,
    "ramfs": 0x858458F6,
    "securityfs": 0x73636673,
    "squashfs": 0x73717368,
    "sysfs": 0x62656572,
    "tmpfs": mounts.TMPFS,
    "tracefs": 0x74726163,
    "vfat": 0x4D44,
    "xfs": 0x58465342,
    "zfs": 0x2FC12FC1,
}
# Other names of the same types.
ALIASES = {"cgroup1": "cgroup", "ext2": "ext4", "ext3": "ext4", "overlayfs": "overlay", "procfs": "proc"}


def type_number(text: str) -> int | None:
    """The type that a name or a number (decimal, 0x…) means; None for neither."""
    name = ALIASES.get(text, text)
    if name in TYPES:
        return TYPES[name]
    try:
        return int(text, 0)
    except ValueError:
        return None
