"""Certificates of tests: good ones, and those that nobody should serve."""

from __future__ import annotations

import functools
import ipaddress
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mpchat.tls.pair import Pair

Key: TypeAlias = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey

FORKS = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
"""Marks a test that forks: another one may have left a thread, which its child does not need."""

NOW = datetime(2026, 6, 15, 12, 0, 0, tzinfo=UTC)
BEGIN, END = NOW - timedelta(days=30), NOW + timedelta(days=60)


def ec_key() -> Key:
    return ec.generate_private_key(ec.SECP256R1())


@functools.cache
def rsa_key(bits: int = 2048) -> Key:
    """Return the one key of the size: making one takes long."""
    return rsa.generate_private_key(65537, bits)


def common(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


@dataclass(frozen=True)
class Made:
    """A certificate, its key, and who has issued it."""

    certificate: x509.Certificate
    private: Key
    issuer: Made | None

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def chain(self) -> bytes:
        """It, and those between it and the root."""
        if self.issuer is None or self.issuer.issuer is None:
            return self.pem
        return self.pem + self.issuer.chain

    def key(
        self,
        passphrase: str | None = None,
        style: PrivateFormat = PrivateFormat.PKCS8,
        encoding: Encoding = Encoding.PEM,
    ) -> bytes:
        how: KeySerializationEncryption = NoEncryption()
        if passphrase is not None:
            how = BestAvailableEncryption(passphrase.encode())
        return self.private.private_bytes(encoding, style, how)

    def pair(self) -> Pair:
        return Pair("a.crt", "a.key", self.chain, self.key(), None)

    def configure(self, context: ssl.SSLContext) -> None:
        self.pair().load(context)


def make(
    subject: str | x509.Name = "a.test",
    issuer: Made | None = None,
    *,
    names: tuple[str, ...] = (),
    key: Key | None = None,
    begin: datetime = BEGIN,
    end: datetime = END,
    is_authority: bool = False,
    for_clients_only: bool = False,
) -> Made:
    """Return a certificate; without an issuer it signs itself."""
    key = key or ec_key()
    subject = common(subject) if isinstance(subject, str) else subject
    signer = issuer.private if issuer is not None else key
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer is not None else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(is_authority, None), critical=True)
    )
    if names:
        alternatives = x509.SubjectAlternativeName([_name(name) for name in names])
        builder = builder.add_extension(alternatives, critical=False)
    if for_clients_only:
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
        builder = builder.add_extension(usage, critical=False)
    digest = None if isinstance(signer, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return Made(builder.sign(signer, digest), key, issuer)


def authority(
    name: str = "authority",
    issuer: Made | None = None,
    *,
    key: Key | None = None,
    begin: datetime = BEGIN,
    end: datetime = END,
) -> Made:
    return make(name, issuer, key=key, begin=begin, end=end, is_authority=True)


def _name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def encode(tag: int, *contents: bytes) -> bytes:
    content = b"".join(contents)
    length = len(content)
    if length < 0x80:
        return bytes([tag, length]) + content
    digits = length.to_bytes((length.bit_length() + 7) // 8)
    return bytes([tag, 0x80 | len(digits)]) + digits + content


def certificate(
    *,
    version: bytes = b"\xa0\x03\x02\x01\x02",
    serial: bytes = b"\x02\x01\x05",
    begin: bytes = b"\x17\x0d260101000000Z",
    end: bytes = b"\x18\x0f20270101000000Z",
    name: bytes = b"\x30\x00",
    extensions: bytes = b"",
    more: bytes = b"",
) -> bytes:
    """Return a certificate by its parts; the algorithm, the key and the signature are empty."""
    nothing = b"\x30\x00"
    body = (version, serial, nothing, name, encode(0x30, begin, end), name, nothing, extensions)
    return encode(0x30, encode(0x30, *body), nothing, b"\x03\x01\x00", more)
