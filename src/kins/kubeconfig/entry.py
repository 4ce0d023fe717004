"""A cluster as a kubeconfig sees it (kubernetes.io: kubeconfig v1)."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from typing import Any

Document = dict[str, Any]


@dataclass(frozen=True)
class Entry:
    """One cluster with its user and context, all of one name. Certificates and keys in PEM."""

    name: str
    server: str
    certificate_authority_data: bytes
    client_certificate_data: bytes
    client_key_data: bytes

    def stanzas(self) -> dict[str, Document]:
        """The named items by the list that they belong to."""
        data = (self.certificate_authority_data, self.client_certificate_data, self.client_key_data)
        return _stanzas(self.name, self.server, *(b64encode(each).decode() for each in data))


def _stanzas(name: str, server: str, authority: str, certificate: str, key: str) -> dict[str, Document]:
    """With certificates and key in base64."""
    user = {"client-certificate-data": certificate, "client-key-data": key}
    return {
        "clusters": {"name": name, "cluster": {"server": server, "certificate-authority-data": authority}},
        "contexts": {"name": name, "context": {"cluster": name, "user": name}},
        "users": {"name": name, "user": user},
    }


def empty() -> Document:
    """A kubeconfig with nothing in it."""
    return {"apiVersion": "v1", "kind": "Config"}


def build(entry: Entry) -> Document:
    """A kubeconfig with this cluster only, and as the current one."""
    return _alone(entry.stanzas(), entry.name)


def template(name: str, server: str, authority: str, certificate: str, key: str) -> Document:
    """The same with texts of your own where certificates and key stand in base64."""
    return _alone(_stanzas(name, server, authority, certificate, key), name)


def _alone(stanzas: dict[str, Document], name: str) -> Document:
    return empty() | {section: [item] for section, item in stanzas.items()} | {"current-context": name}
