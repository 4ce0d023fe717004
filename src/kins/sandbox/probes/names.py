"""How this sandbox finds names, and by which way it reaches what has them."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
import time
from pathlib import Path

from kins.sandbox.probes.table import Values

RESOLVER_FILE = "/etc/resolv.conf"
DNS_PORT = 53
PROXIES = tuple(
    variable for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy") for variable in (name, name.upper())
)
AUTHORITIES = ("CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE", "SSL_CERT_DIR", "SSL_CERT_FILE")
LOCAL_AUTHORITIES = "/usr/local/share/ca-certificates"
# RFC 1035, 4.1: identity 0, recursion desired, one question: the name servers (2) of the root in class IN (1).
ROOT_QUESTION = bytes.fromhex("0000 0100 0001 0000 0000 0000 00 0002 0001")
# Every resolver knows the root: a recursive one answers within milliseconds, or is far away and busy.
RESOLVER_SECONDS = 1.0


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


def has_resolver_file(_: Path) -> bool:
    """containerd reads /etc/resolv.conf for each pod that the kubelet gives no other."""
    return Path(RESOLVER_FILE).is_file()


def proxies(_: Path) -> list[str]:
    """The names of proxy variables that are set; never their values."""
    return sorted(name for name in PROXIES if os.environ.get(name))


def authorities(_: Path) -> list[str]:
    """What adds certificate authorities to those of the system: names of variables, and Debian's directory."""
    found = [name for name in AUTHORITIES if os.environ.get(name)]
    return [*found, *([LOCAL_AUTHORITIES] if any(Path(LOCAL_AUTHORITIES).glob("*.crt")) else [])]


VALUES: Values = {
    "has_hosts_file": (has_hosts_file, False),
    "has_resolver_file": (has_resolver_file, False),
    "resolvers": (resolvers, {}),
    "proxies": (proxies, []),
    "authorities": (authorities, []),
}
