"""The cluster's own public key infrastructure: an authority, certificates that it issues, keys for service accounts.

Which identities a cluster has is not decided here (`kins.cluster.identities`).
"""

from kins.pki.authority import Authority
from kins.pki.identities import Identity, issue
from kins.pki.keys import create_signing_key

__all__ = ["Authority", "Identity", "create_signing_key", "issue"]
