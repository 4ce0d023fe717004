"""Private keys: elliptic curve P-256 (as fast to make as to use; RSA takes a second in a sandbox), 0600 from birth."""

from __future__ import annotations

import os
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)


def write(path: Path, content: bytes, mode: int) -> None:
    """Put a file in place, whole or not at all, never readable by more than `mode` says."""
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
    new.replace(path)


def load_or_create(path: Path) -> ec.EllipticCurvePrivateKey:
    """The PEM key of a file, which is made if it is not there."""
    if path.exists():
        key = load_pem_private_key(path.read_bytes(), password=None)
        assert isinstance(key, ec.EllipticCurvePrivateKey), "only this module writes keys"
        return key
    key = ec.generate_private_key(ec.SECP256R1())
    # SEC 1 ("EC PRIVATE KEY"): client-go's keyutil reads service account keys in this form and in PKCS 8.
    write(path, key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()), 0o600)
    return key


def create_signing_key(directory: Path, name: str) -> None:
    """NAME.key and NAME.pub, with which the API server signs and checks service account tokens (ES256); kept if
    there."""
    key = load_or_create(directory / f"{name}.key")
    public = directory / f"{name}.pub"
    content = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    if not public.exists() or public.read_bytes() != content:
        write(public, content, 0o644)
