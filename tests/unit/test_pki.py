"""Certificates that verify everywhere they must, and keys that nobody else could ever read."""

from __future__ import annotations

import datetime
import ipaddress
import os
import shutil
import socket
import ssl
import stat
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

import kins
from kins.pki import Authority, create_signing_key, keys

SERVER_NAMES = ("kubernetes", "kubernetes.default.svc.cluster.local", "localhost")
SERVER_ADDRESSES = ("127.0.0.1", "10.43.0.1", "fd00::1")
SOURCES = Path(kins.__file__).resolve().parents[1]


@pytest.fixture
def pki(tmp_path: Path) -> Path:
    """An authority with a server's and a client's certificate."""
    authority = Authority.open(tmp_path, "ca")
    authority.issue("server", "kube-apiserver", dns_names=SERVER_NAMES, ip_addresses=SERVER_ADDRESSES)
    authority.issue("admin", "kubernetes-admin", ["system:masters", "kins:users"])
    return tmp_path


def certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def private_key(path: Path) -> ec.EllipticCurvePrivateKey:
    key = load_pem_private_key(path.read_bytes(), password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize(
    "subject",
    [
        *(x509.DNSName(name) for name in SERVER_NAMES),
        *(map(x509.IPAddress, map(ipaddress.ip_address, SERVER_ADDRESSES))),
    ],
    ids=[*SERVER_NAMES, *SERVER_ADDRESSES],
)
def test_the_server_verifies_by_each_of_its_names(pki: Path, subject: x509.DNSName | x509.IPAddress) -> None:
    store = Store([certificate(pki / "ca.crt")])
    verifier = PolicyBuilder().store(store).build_server_verifier(subject)
    chain = verifier.verify(certificate(pki / "server.crt"), [])
    assert chain[-1] == certificate(pki / "ca.crt")


def test_the_server_is_refused_by_another_name(pki: Path) -> None:
    store = Store([certificate(pki / "ca.crt")])
    verifier = PolicyBuilder().store(store).build_server_verifier(x509.DNSName("example.org"))
    with pytest.raises(VerificationError):
        verifier.verify(certificate(pki / "server.crt"), [])


def test_the_server_is_refused_under_another_authority(pki: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    Authority.open(elsewhere, "ca")
    verifier = (
        PolicyBuilder()
        .store(Store([certificate(elsewhere / "ca.crt")]))
        .build_server_verifier(x509.DNSName("localhost"))
    )
    with pytest.raises(VerificationError):
        verifier.verify(certificate(pki / "server.crt"), [])


def test_alternative_names_are_exactly_those_asked_for(pki: Path) -> None:
    names = certificate(pki / "server.crt").extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == list(SERVER_NAMES)
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == list(SERVER_ADDRESSES)


def test_a_client_says_who_it_is_and_serves_nothing(pki: Path) -> None:
    # Kubernetes reads the user from the common name and the groups from the organizations.
    admin = certificate(pki / "admin.crt")
    assert [each.value for each in admin.subject.get_attributes_for_oid(NameOID.COMMON_NAME)] == ["kubernetes-admin"]
    organizations = [each.value for each in admin.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]
    assert organizations == ["system:masters", "kins:users"]
    usage = admin.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    with pytest.raises(x509.ExtensionNotFound):
        admin.extensions.get_extension_for_class(x509.SubjectAlternativeName)


def test_a_server_is_a_client_too(pki: Path) -> None:
    # The API server shows its certificate to kubelets, and the kubelet its own to the API server.
    usage = certificate(pki / "server.crt").extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert set(usage) == {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH}


def test_only_the_authority_signs_certificates(pki: Path) -> None:
    for name, signs in (("ca", True), ("server", False), ("admin", False)):
        extensions = certificate(pki / f"{name}.crt").extensions
        assert extensions.get_extension_for_class(x509.BasicConstraints).value.ca is signs
        assert extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign is signs


def test_validity_bears_a_clock_that_is_set_back(pki: Path) -> None:
    now = datetime.datetime.now(datetime.UTC)
    for name in ("ca", "server", "admin"):
        found = certificate(pki / f"{name}.crt")
        assert found.not_valid_before_utc <= now - datetime.timedelta(minutes=59)
        assert found.not_valid_after_utc > now + datetime.timedelta(days=365)


def test_serial_numbers_differ(pki: Path) -> None:
    assert len({certificate(pki / f"{name}.crt").serial_number for name in ("ca", "server", "admin")}) == 3


def openssl_verify(pki: Path, name: str, *options: str) -> subprocess.CompletedProcess[str]:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("there is no openssl program here; the other tests verify with Python's libraries")
    command = [openssl, "verify", "-x509_strict", "-CAfile", str(pki / "ca.crt"), *options, str(pki / f"{name}.crt")]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("server", ["-purpose", "sslserver", "-verify_hostname", "kubernetes"]),
        ("server", ["-purpose", "sslserver", "-verify_ip", "10.43.0.1"]),
        ("server", ["-purpose", "sslclient"]),
        ("admin", ["-purpose", "sslclient"]),
    ],
    ids=["server-by-name", "server-by-address", "server-as-client", "client"],
)
def test_openssl_accepts(pki: Path, name: str, options: Sequence[str]) -> None:
    done = openssl_verify(pki, name, *options)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("name", "options"),
    [("admin", ["-purpose", "sslserver"]), ("server", ["-verify_ip", "10.43.0.2"])],
    ids=["client-as-server", "foreign-address"],
)
def test_openssl_refuses(pki: Path, name: str, options: Sequence[str]) -> None:
    assert openssl_verify(pki, name, *options).returncode != 0


def test_a_tls_connection_with_certificates_on_both_sides(pki: Path) -> None:
    ours, theirs = socket.socketpair()
    peer: dict[str, object] = {}

    def serve() -> None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(pki / "ca.crt"))
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_cert_chain(pki / "server.crt", pki / "server.key")
        with context.wrap_socket(theirs, server_side=True) as connection:
            peer.update(connection.getpeercert() or {})
            connection.sendall(connection.recv(16))

    server = threading.Thread(target=serve)
    server.start()
    context = ssl.create_default_context(cafile=str(pki / "ca.crt"))
    # Python's default since 3.13
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    context.load_cert_chain(pki / "admin.crt", pki / "admin.key")
    ours.settimeout(30)
    with context.wrap_socket(ours, server_hostname="127.0.0.1") as connection:
        connection.sendall(b"hello")
        assert connection.recv(16) == b"hello"
    server.join(timeout=30)
    assert not server.is_alive()
    assert (("commonName", "kubernetes-admin"),) in peer["subject"]  # type: ignore[operator]


def test_modes_under_any_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        authority = Authority.open(tmp_path, "ca")
        authority.issue("admin", "kubernetes-admin")
        create_signing_key(tmp_path, "service-accounts")
    finally:
        os.umask(before)
    assert {path.name: mode(path) for path in tmp_path.iterdir()} == {
        "ca.key": 0o600,
        "admin.key": 0o600,
        "service-accounts.key": 0o600,
        "ca.crt": 0o644,
        "admin.crt": 0o644,
        "service-accounts.pub": 0o644,
    }


# Writing fails at the first byte (RLIMIT_FSIZE), so that what is left shows a key's file as it was born.
BIRTH = """
import os, resource, sys
from pathlib import Path
from kins.pki.keys import load_or_create
os.umask(0)
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
try:
    load_or_create(Path(sys.argv[1]))
except OSError:
    sys.exit(0)
sys.exit("the write was to fail")
"""


def test_a_key_is_private_from_birth(tmp_path: Path) -> None:
    command = [sys.executable, "-c", BIRTH, str(tmp_path / "ca.key")]
    subprocess.run(command, env={**os.environ, "PYTHONPATH": str(SOURCES)}, check=True)
    born = list(tmp_path.iterdir())
    assert [mode(path) for path in born] == [0o600]
    assert not (tmp_path / "ca.key").exists(), "half a key must not be taken for one"
    # A second try finds the remains of the first.
    keys.load_or_create(tmp_path / "ca.key")
    assert mode(tmp_path / "ca.key") == 0o600
    assert private_key(tmp_path / "ca.key").curve.name == "secp256r1"


def test_a_readable_remainder_never_holds_the_key(tmp_path: Path) -> None:
    remainder = tmp_path / "ca.key.new"
    remainder.touch(mode=0o644)
    with remainder.open("rb") as spy:
        keys.load_or_create(tmp_path / "ca.key")
        assert spy.read() == b""
    assert mode(tmp_path / "ca.key") == 0o600


def test_everything_is_kept_on_recovery(pki: Path) -> None:
    before = {path.name: path.read_bytes() for path in pki.iterdir()}
    authority = Authority.open(pki, "ca")
    authority.issue("server", "kube-apiserver", dns_names=SERVER_NAMES, ip_addresses=SERVER_ADDRESSES)
    authority.issue("admin", "kubernetes-admin", ["system:masters", "kins:users"])
    assert {path.name: path.read_bytes() for path in pki.iterdir()} == before


@pytest.mark.parametrize(
    ("common_name", "organizations", "addresses"),
    [
        ("kube-apiserver", [], ["127.0.0.1"]),
        ("someone-else", [], list(SERVER_ADDRESSES)),
        ("kube-apiserver", ["system:nodes"], list(SERVER_ADDRESSES)),
    ],
    ids=["other-addresses", "other-name", "other-groups"],
)
def test_another_request_gives_another_certificate(
    pki: Path, common_name: str, organizations: list[str], addresses: list[str]
) -> None:
    before = certificate(pki / "server.crt")
    Authority.open(pki, "ca").issue(
        "server", common_name, organizations, dns_names=SERVER_NAMES, ip_addresses=addresses
    )
    after = certificate(pki / "server.crt")
    assert after != before
    assert after.public_key() == private_key(pki / "server.key").public_key()
    after.verify_directly_issued_by(certificate(pki / "ca.crt"))


@pytest.mark.parametrize("lost", [["ca.crt", "ca.key"], ["ca.key"]], ids=["both", "key"])
def test_certificates_of_a_lost_authority_are_issued_anew(pki: Path, lost: list[str]) -> None:
    # Its name alone says nothing: the new authority is called as the lost one.
    for name in lost:
        (pki / name).unlink()
    Authority.open(pki, "ca").issue("admin", "kubernetes-admin", ["system:masters", "kins:users"])
    certificate(pki / "admin.crt").verify_directly_issued_by(certificate(pki / "ca.crt"))


def test_a_lost_key_gives_a_new_pair(pki: Path) -> None:
    (pki / "admin.key").unlink()
    Authority.open(pki, "ca").issue("admin", "kubernetes-admin", ["system:masters", "kins:users"])
    assert certificate(pki / "admin.crt").public_key() == private_key(pki / "admin.key").public_key()


def test_signing_keys_match_and_are_kept(tmp_path: Path) -> None:
    create_signing_key(tmp_path, "service-accounts")
    before = (tmp_path / "service-accounts.key").read_bytes()
    create_signing_key(tmp_path, "service-accounts")
    assert (tmp_path / "service-accounts.key").read_bytes() == before
    (tmp_path / "service-accounts.key").unlink()
    create_signing_key(tmp_path, "service-accounts")
    public = load_pem_public_key((tmp_path / "service-accounts.pub").read_bytes())
    assert isinstance(public, ec.EllipticCurvePublicKey)
    signature = private_key(tmp_path / "service-accounts.key").sign(b"token", ec.ECDSA(hashes.SHA256()))
    public.verify(signature, b"token", ec.ECDSA(hashes.SHA256()))
