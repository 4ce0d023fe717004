"""Certificates as data, and all of a list at once."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from kins.pki.authority import Authority


class Identity(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Whom a certificate names, NAME.crt with its key NAME.key, and by which authority.

    It is a client's, and with names or addresses (dotted quads) a server's too.
    """

    name: str
    common_name: str
    organizations: tuple[str, ...] = ()
    dns_names: tuple[str, ...] = ()
    ip_addresses: tuple[str, ...] = ()
    authority: str = "ca"


def issue(directory: Path, identities: Iterable[Identity]) -> None:
    """Certificates and keys in a directory, their authorities' included. What is there and current is kept."""
    authorities: dict[str, Authority] = {}
    for each in identities:
        if each.authority not in authorities:
            authorities[each.authority] = Authority.open(directory, each.authority)
        authorities[each.authority].issue(
            each.name,
            each.common_name,
            each.organizations,
            dns_names=each.dns_names,
            ip_addresses=each.ip_addresses,
        )
