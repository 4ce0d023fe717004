"""A certificate authority in a directory (RFC 5280; Kubernetes: PKI certificates and requirements)."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from kins.pki import keys

# A sandbox's clock may be set back after a resume: certificates of the last hour must still count as begun.
CLOCK_SKEW = timedelta(hours=1)
# Clusters here are thrown away long before; nothing renews certificates, so an expiry could only do harm.
VALIDITY = timedelta(days=3650)


class Authority:
    """An authority whose NAME.crt and NAME.key are in a directory, where it also puts what it issues."""

    def __init__(self, directory: Path, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        self._directory = directory
        self._certificate = certificate
        self._key = key

    @classmethod
    def open(cls, directory: Path, name: str) -> Authority:
        """The authority of that name, made if it is not there: a recovered cluster keeps its own."""
        key = keys.load_or_create(directory / f"{name}.key")
        path = directory / f"{name}.crt"
        if path.exists():
            found = x509.load_pem_x509_certificate(path.read_bytes())
            if found.public_key() == key.public_key():  # not, when the key was lost and is a new one
                return cls(directory, found, key)
        subject = _subject(f"kins {name}", ())
        certificate = (
            _builder(subject, subject, key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        keys.write(path, certificate.public_bytes(Encoding.PEM), 0o644)
        return cls(directory, certificate, key)

    def issue(
        self,
        name: str,
        common_name: str,
        organizations: Sequence[str] = (),
        *,
        dns_names: Sequence[str] = (),
        ip_addresses: Sequence[str] = (),
    ) -> None:
        """NAME.crt and NAME.key for a client that is also a server when it has names or addresses.

        Existing ones are kept when they say the same and are this authority's.
        """
        path = self._directory / f"{name}.crt"
        key = keys.load_or_create(self._directory / f"{name}.key")
        subject = _subject(common_name, organizations)
        alternatives = _alternatives(dns_names, ip_addresses)
        if path.exists() and self._is_current(path, key, subject, alternatives):
            return
        usages = [ExtendedKeyUsageOID.CLIENT_AUTH, *([ExtendedKeyUsageOID.SERVER_AUTH] if alternatives else [])]
        issuer_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = (
            _builder(subject, self._certificate.subject, key.public_key())
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(issuer_key, critical=False)
        )
        if alternatives:
            builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        keys.write(path, builder.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM), 0o644)

    def _is_current(
        self,
        path: Path,
        key: ec.EllipticCurvePrivateKey,
        subject: x509.Name,
        alternatives: list[x509.GeneralName],
    ) -> bool:
        found = x509.load_pem_x509_certificate(path.read_bytes())
        try:
            names = list(found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
        except x509.ExtensionNotFound:
            names = []
        return (
            found.subject == subject
            and found.public_key() == key.public_key()
            and self._has_issued(found)
            and set(names) == set(alternatives)
            and found.not_valid_after_utc > datetime.now(UTC)
        )

    def _has_issued(self, found: x509.Certificate) -> bool:
        try:
            found.verify_directly_issued_by(self._certificate)
        except (InvalidSignature, ValueError):  # ValueError: another issuer's name
            return False
        return True


def _subject(common_name: str, organizations: Sequence[str]) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, each) for each in organizations]
    return x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _alternatives(dns_names: Sequence[str], ip_addresses: Sequence[str]) -> list[x509.GeneralName]:
    names: list[x509.GeneralName] = [x509.DNSName(name) for name in dns_names]
    return names + [x509.IPAddress(ipaddress.ip_address(address)) for address in ip_addresses]


def _builder(subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + VALIDITY)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )
