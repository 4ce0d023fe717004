"""The few rtnetlink(7) requests of a node, so that no iproute2 is needed. Plain ones: gVisor knows few attributes."""

from __future__ import annotations

import ipaddress
import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

NLMSG_ERROR, NLMSG_DONE = 2, 3
RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK = 16, 17, 18
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
RTM_NEWROUTE, RTM_GETROUTE = 24, 26
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP = 1, 4, 0x300
NLM_F_CREATE, NLM_F_EXCL = 0x400, 0x200
IFLA_IFNAME, IFLA_LINKINFO = 3, 18
IFLA_INFO_KIND, IFLA_INFO_DATA = 1, 2
VETH_INFO_PEER = 1
IFA_ADDRESS, IFA_LOCAL = 1, 2
RTA_DST, RTA_OIF, RTA_GATEWAY = 1, 4, 5
RT_TABLE_MAIN, RTPROT_STATIC, RT_SCOPE_UNIVERSE, RTN_UNICAST = 254, 4, 0, 1
IFF_UP = 1
# An answer that does not come is one of gVisor's: some requests hang for ever in a network namespace without IP.
ANSWER_SECONDS = 2.0


@dataclass(frozen=True)
class Link:
    """A network link."""

    name: str
    index: int
    kind: str
    is_up: bool


def create_bridge(name: str) -> None:
    """Create a bridge. Raises FileExistsError, OSError."""
    info = _attribute(IFLA_INFO_KIND, b"bridge\0")
    _create(name, info)


def create_veth(name: str, peer: str) -> None:
    """Create a pair of veths in this network namespace."""
    ends = _link_header() + _attribute(IFLA_IFNAME, peer.encode() + b"\0")
    info = _attribute(IFLA_INFO_KIND, b"veth\0") + _attribute(IFLA_INFO_DATA, _attribute(VETH_INFO_PEER, ends))
    _create(name, info)


def delete_link(name: str) -> None:
    """Delete a link, and its peer if it has one."""
    _request(RTM_DELLINK, _link_header(index=_index(name)))


def set_up(name: str) -> None:
    """Bring a link up."""
    _request(RTM_NEWLINK, _link_header(index=_index(name), flags=IFF_UP, change=IFF_UP))


def add_address(name: str, address: str) -> None:
    """Give a link an IPv4 address with its prefix, e.g. `10.42.0.1/16`. Raises FileExistsError, OSError."""
    _request(RTM_NEWADDR, _link_address(name, address), NLM_F_CREATE | NLM_F_EXCL)


def delete_address(name: str, address: str) -> None:
    """Take an IPv4 address with its prefix from a link."""
    _request(RTM_DELADDR, _link_address(name, address))


def add_default_route(name: str, gateway: str) -> None:
    """Send what goes nowhere else by a link to a gateway."""
    kinds = (RT_TABLE_MAIN, RTPROT_STATIC, RT_SCOPE_UNIVERSE, RTN_UNICAST)
    header = struct.pack("=BBBBBBBBI", socket.AF_INET, 0, 0, 0, *kinds, 0)
    link = _attribute(RTA_OIF, struct.pack("=I", _index(name)))
    packed = ipaddress.ip_address(gateway).packed
    _request(RTM_NEWROUTE, header + link + _attribute(RTA_GATEWAY, packed), NLM_F_CREATE | NLM_F_EXCL)


def links() -> list[Link]:
    """The links of this network namespace."""
    found = []
    for kind, body in _dump(RTM_GETLINK, _link_header()):
        if kind == RTM_NEWLINK:
            _, _, index, flags, _ = struct.unpack_from("=BxHiII", body)
            attributes = dict(_attributes(body[16:]))
            nested = dict(_attributes(attributes.get(IFLA_LINKINFO, b"")))
            name = attributes.get(IFLA_IFNAME, b"").rstrip(b"\0").decode()
            link_kind = nested.get(IFLA_INFO_KIND, b"").rstrip(b"\0").decode()
            found.append(Link(name, index, link_kind, bool(flags & IFF_UP)))
    return found


def link_exists(name: str) -> bool:
    """Whether there is a link of that name."""
    try:
        _index(name)
    except OSError:
        return False
    return True


def addresses() -> list[str]:
    """The IPv4 addresses of this network namespace with their prefixes."""
    found = []
    for kind, body in _dump(RTM_GETADDR, struct.pack("=BBBBI", socket.AF_INET, 0, 0, 0, 0)):
        if kind == RTM_NEWADDR:
            family, prefix = struct.unpack_from("=BB", body)
            attributes = dict(_attributes(body[8:]))
            address = attributes.get(IFA_LOCAL, attributes.get(IFA_ADDRESS))
            if family == socket.AF_INET and address is not None:
                found.append(f"{ipaddress.ip_address(address)}/{prefix}")
    return found


def routes() -> list[str]:
    """The destinations of IPv4 routes, without the default one."""
    found = []
    for kind, body in _dump(RTM_GETROUTE, struct.pack("=BBBBBBBBI", socket.AF_INET, 0, 0, 0, 0, 0, 0, 0, 0)):
        if kind == RTM_NEWROUTE:
            family, prefix = struct.unpack_from("=BB", body)
            destination = dict(_attributes(body[12:])).get(RTA_DST)
            if family == socket.AF_INET and destination is not None:
                found.append(f"{ipaddress.ip_address(destination)}/{prefix}")
    return found


def _index(name: str) -> int:
    return socket.if_nametoindex(name)


def _create(name: str, info: bytes) -> None:
    body = _link_header() + _attribute(IFLA_IFNAME, name.encode() + b"\0") + _attribute(IFLA_LINKINFO, info)
    _request(RTM_NEWLINK, body, NLM_F_CREATE | NLM_F_EXCL)


def _link_address(name: str, address: str) -> bytes:
    interface = ipaddress.ip_interface(address)
    header = struct.pack("=BBBBI", socket.AF_INET, interface.network.prefixlen, 0, 0, _index(name))
    packed = interface.ip.packed
    return header + _attribute(IFA_LOCAL, packed) + _attribute(IFA_ADDRESS, packed)


def _link_header(index: int = 0, flags: int = 0, change: int = 0) -> bytes:
    return struct.pack("=BxHiII", socket.AF_UNSPEC, 0, index, flags, change)


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + b"\0" * (-len(value) % 4)


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= 4:
        length, kind = struct.unpack_from("=HH", data)
        if length < 4:
            return
        yield kind & 0x3FFF, data[4:length]
        data = data[(length + 3) & ~3 :]


def _request(kind: int, body: bytes, flags: int = 0) -> None:
    for _ in _exchange(kind, body, NLM_F_REQUEST | NLM_F_ACK | flags):
        pass


def _dump(kind: int, body: bytes) -> Iterator[tuple[int, bytes]]:
    return _exchange(kind, body, NLM_F_REQUEST | NLM_F_DUMP)


def _exchange(kind: int, body: bytes, flags: int) -> Iterator[tuple[int, bytes]]:
    """Send one request; yields the answers' kinds and bodies up to the acknowledgement. Raises OSError."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as netlink:
        netlink.settimeout(ANSWER_SECONDS)
        netlink.bind((0, 0))
        netlink.send(struct.pack("=IHHII", 16 + len(body), kind, flags, 1, 0) + body)
        while True:
            data = netlink.recv(1 << 17)
            while len(data) >= 16:
                length, answer, *_ = struct.unpack_from("=IHHII", data)
                content, data = data[16:length], data[(length + 3) & ~3 :]
                if answer == NLMSG_DONE:
                    return
                if answer == NLMSG_ERROR:
                    _check(content)
                    return
                yield answer, content


def _check(content: bytes) -> None:
    number = -struct.unpack_from("=i", content)[0]
    if number:
        raise OSError(number, f"netlink: {os.strerror(number)}")
