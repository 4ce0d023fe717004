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
        cluster = {
            "server": self.server,
            "certificate-authority-data": b64encode(self.certificate_authority_data).decode(),
        }
        user = {
            "client-certificate-data": b64encode(self.client_certificate_data).decode(),
            "client-key-data": b64encode(self.client_key_data).decode(),
        }
        return {
            "clusters": {"name": self.name, "cluster": cluster},
            "contexts": {"name": self.name, "context": {"cluster": self.name, "user": self.name}},
            "users": {"name": self.name, "user": user},
        }


def empty() -> Document:
    """A kubeconfig with nothing in it."""
    return {"apiVersion": "v1", "kind": "Config"}


def build(entry: Entry) -> Document:
    """A kubeconfig with this cluster only, and as the current one."""
    stanzas = {section: [item] for section, item in entry.stanzas().items()}
    return empty() | stanzas | {"current-context": entry.name}
