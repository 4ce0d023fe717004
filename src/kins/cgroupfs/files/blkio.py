"""blkio of version 1 (cgroup-v1/blkio-controller.rst): limits are kept; figures are the machine's, in the root."""

from __future__ import annotations

import errno
import re

from kins.cgroupfs import machine
from kins.cgroupfs.control_groups import ControlGroups, Writer
from kins.cgroupfs.files.declaration import ControlFile, Read, Where, parse_number
from kins.cgroupfs.model import Group, refusal

DEVICE = re.compile(r"(\d+:\d+)\s+(\d+)")
WEIGHT_MINIMUM, WEIGHT_MAXIMUM, WEIGHT_DEFAULT = 1, 1000, 100


def read_transfers(*, bytes_: bool) -> Read:
    """What disks have done: `MAJOR:MINOR Operation N` lines and a total. Nobody tells which group it was for."""

    def read(groups: ControlGroups, group: Group) -> str:
        lines, total = [], 0
        for disk in machine.disks() if group.is_root else ():
            reads, writes = (disk.read_bytes, disk.write_bytes) if bytes_ else (disk.reads, disk.writes)
            rows = {"Read": reads, "Write": writes, "Sync": reads + writes, "Async": 0, "Discard": 0}
            rows["Total"] = reads + writes
            lines += [f"{disk.number} {name} {value}\n" for name, value in rows.items()]
            total += reads + writes
        return "".join(lines) + f"Total {total}\n"

    return read


def device_file(name: str) -> ControlFile:
    """A limit for each device; 0 removes it."""

    def write(groups: ControlGroups, group: Group, text: str, writer: Writer) -> None:
        entry = DEVICE.fullmatch(text)
        if entry is None:
            raise refusal(errno.EINVAL, text)
        limits = device_limits(group, name)
        limits[entry[1]] = entry[2]
        kept = "\n".join(f"{device} {value}" for device, value in limits.items() if int(value))
        groups.set(group, name, kept or None)

    def read(groups: ControlGroups, group: Group) -> str:
        return "".join(f"{device} {value}\n" for device, value in device_limits(group, name).items())

    return ControlFile(name, read, write)


def device_limits(group: Group, name: str) -> dict[str, str]:
    """What was set, by device."""
    lines = filter(None, group.settings.get(name, "").split("\n"))
    return dict(line.split(" ", 1) for line in lines)


def read_weight(groups: ControlGroups, group: Group) -> str:
    """The weight of a group."""
    return f"{group.settings.get('blkio.bfq.weight', WEIGHT_DEFAULT)}\n"


def write_weight(groups: ControlGroups, group: Group, text: str, writer: Writer) -> None:
    """Values outside of the bounds are ERANGE (block/bfq-cgroup.c)."""
    value = parse_number(text)
    if not WEIGHT_MINIMUM <= value <= WEIGHT_MAXIMUM:
        raise refusal(errno.ERANGE, text)
    groups.set(group, "blkio.bfq.weight", str(value))


def read_weights(groups: ControlGroups, group: Group) -> str:
    """The group's own weight, then those of devices."""
    rows = device_limits(group, "blkio.bfq.weight_device")
    return f"default {read_weight(groups, group)}" + "".join(f"{device} {value}\n" for device, value in rows.items())


def ignore(groups: ControlGroups, group: Group, text: str, writer: Writer) -> None:
    """The machine's figures cannot be reset."""
    parse_number(text)


FILES = (
    *(
        ControlFile(f"blkio.{policy}.{name}{suffix}", read_transfers(bytes_=name == "io_service_bytes"))
        for policy in ("bfq", "throttle")
        for name in ("io_service_bytes", "io_serviced")
        for suffix in ("", "_recursive")
    ),
    ControlFile("blkio.bfq.weight", read_weight, write_weight, Where.NOT_ROOT),
    ControlFile("blkio.bfq.weight_device", read_weights, device_file("blkio.bfq.weight_device").write, Where.NOT_ROOT),
    ControlFile("blkio.reset_stats", None, ignore),
    *(device_file(f"blkio.throttle.{name}_device") for name in ("read_bps", "read_iops", "write_bps", "write_iops")),
)
