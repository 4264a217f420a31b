"""Certificates for tests of TLS: an authority of their own, and pairs that are right or wrong in one way.

Rules. All lie in one folder, and each is made when it is first asked for: a key takes its time. They are
for ``localhost`` and both of its addresses, unless a test names others. Nobody changes these files: a
test that wants another mistake writes a file of its own.
"""

from __future__ import annotations

import datetime
import shutil
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

LOCAL = ("localhost", "127.0.0.1", "::1")
PASSPHRASE = "correct-horse"
"""What ``Certificates.encrypted`` has its key under."""
Kind = Literal["EC", "RSA", "Ed25519", "RSA-1024"]
DAY = 86_400.0


@dataclass(frozen=True)
class PairFiles:
    """A certificate's file, with its chain, and its key's."""

    cert: Path
    key: Path

    @property
    def options(self) -> dict[str, str]:
        """The section ``tls`` of a listener that serves it."""
        return {"cert": str(self.cert), "private-key": str(self.key)}


class Certificates:
    """The authority, another one that nobody trusts, and what they sign."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = trustme.CA()
        self.stranger = trustme.CA()
        self._count = 0

    @cached_property
    def ca(self) -> Path:
        """The file of the authority's certificate."""
        return self.write("ca.pem", self.authority.cert_pem.bytes())

    @cached_property
    def other_ca(self) -> Path:
        """The file of the other authority's certificate."""
        return self.write("other-ca.pem", self.stranger.cert_pem.bytes())

    @cached_property
    def intermediate(self) -> trustme.CA:
        """An authority that the first one signed; those that it signs have it in their chain."""
        return self.authority.create_child_ca()

    # Right ones

    @cached_property
    def ec(self) -> PairFiles:
        """A key on P-256."""
        return self.issue(kind="EC")

    @cached_property
    def rsa(self) -> PairFiles:
        """An RSA key of 2048 bits."""
        return self.issue(kind="RSA")

    @cached_property
    def ed25519(self) -> PairFiles:
        """An Ed25519 key."""
        return self.issue(kind="Ed25519")

    @cached_property
    def chained(self) -> PairFiles:
        """A leaf and the intermediate authority that signed it."""
        return self.issue(signer=self.intermediate)

    @cached_property
    def encrypted(self) -> PairFiles:
        """A key under PASSPHRASE."""
        return self.issue(passphrase=PASSPHRASE)

    @cached_property
    def client(self) -> PairFiles:
        """A client's, named ``a client``."""
        return self.issue("client.test", common_name="a client")

    # Wrong ones

    @cached_property
    def expired(self) -> PairFiles:
        """Expired a day ago."""
        return self.issue(begins=-30 * DAY, ends=-DAY)

    @cached_property
    def early(self) -> PairFiles:
        """Valid from tomorrow on."""
        return self.issue(begins=DAY, ends=30 * DAY)

    @cached_property
    def weak(self) -> PairFiles:
        """An RSA key of 1024 bits, which OpenSSL takes for too small."""
        return self.issue(kind="RSA-1024")

    @cached_property
    def mismatched(self) -> PairFiles:
        """A certificate with another one's key, of the same type."""
        return PairFiles(self.ec.cert, self.client.key)

    @cached_property
    def ca_first(self) -> PairFiles:
        """A chain that begins with the authority."""
        return self.chain_of(self.chained, [1, 0])

    @cached_property
    def foreign_in_chain(self) -> PairFiles:
        """A leaf, and an authority that has not signed it."""
        chain = self.ec.cert.read_bytes() + self.stranger.cert_pem.bytes()
        return PairFiles(self.write("foreign.pem", chain), self.ec.key)

    @cached_property
    def strange_client(self) -> PairFiles:
        """A client's, signed by the other authority."""
        return self.issue("client.test", common_name="a client", signer=self.stranger)

    @cached_property
    def expired_client(self) -> PairFiles:
        """A client's, expired a day ago."""
        return self.issue("client.test", common_name="late", begins=-30 * DAY, ends=-DAY)

    @cached_property
    def huge_client(self) -> PairFiles:
        """A client's, with 250 certificates behind it: more than OpenSSL takes (100 KiB)."""
        chain = self.client.cert.read_bytes() + 250 * self.authority.cert_pem.bytes()
        return PairFiles(self.write("huge.pem", chain), self.client.key)

    # What makes them

    def issue(
        self,
        *names: str,
        kind: Kind = "EC",
        signer: trustme.CA | None = None,
        common_name: str | None = None,
        begins: float = -DAY,
        ends: float = 90 * DAY,
        passphrase: str | None = None,
    ) -> PairFiles:
        """Make a new key and sign it for these names, by default LOCAL.

        Args:
            begins, ends: Seconds from now; a certificate knows whole ones only.
        """
        signer = signer or self.authority
        now = datetime.datetime.now(datetime.UTC)
        leaf = signer.issue_cert(
            *(names or LOCAL),
            common_name=common_name,
            not_before=now + datetime.timedelta(seconds=begins),
            not_after=now + datetime.timedelta(seconds=ends),
            key_type=trustme.KeyType.RSA if kind == "RSA" else trustme.KeyType.ECDSA,
        )
        key_pem = leaf.private_key_pem.bytes()
        chain = [blob.bytes() for blob in leaf.cert_chain_pems]
        if kind in {"Ed25519", "RSA-1024"}:
            key = (
                ed25519.Ed25519PrivateKey.generate()
                if kind == "Ed25519"
                else rsa.generate_private_key(65_537, 1024)
            )
            key_pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            chain[0] = _with_key(chain[0], key, signer)
        if passphrase is not None:
            key_pem = load_pem_private_key(key_pem, None).private_bytes(
                Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(passphrase.encode())
            )
        self._count += 1
        return PairFiles(
            self.write(f"{self._count}.pem", b"".join(chain)),
            self.write(f"{self._count}.key", key_pem),
        )

    def chain_of(self, pair: PairFiles, order: Sequence[int]) -> PairFiles:
        """Return a pair with these of its chain's certificates, in this order."""
        chain = x509.load_pem_x509_certificates(pair.cert.read_bytes())
        text = b"".join(chain[place].public_bytes(Encoding.PEM) for place in order)
        self._count += 1
        return PairFiles(self.write(f"{self._count}.pem", text), pair.key)

    def write(self, name: str, content: bytes) -> Path:
        """Write a file, and return its path."""
        path = self.folder / name
        path.write_bytes(content)
        return path

    def trusting(
        self, client: PairFiles | None = None, version: ssl.TLSVersion | None = None
    ) -> ssl.SSLContext:
        """Return what a client uses that trusts the authority, and speaks this version alone."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(self.ca)
        if client is not None:
            context.load_cert_chain(client.cert, client.key)
        if version is not None:
            context.minimum_version = context.maximum_version = version
        return context


def put(pair: PairFiles, place: PairFiles) -> None:
    """Have a pair lie in files of a test's own, which a service reads again."""
    shutil.copy(pair.cert, place.cert)
    shutil.copy(pair.key, place.key)


def _with_key(
    pem: bytes, key: ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey, signer: trustme.CA
) -> bytes:
    """Return the same certificate for another key."""
    old = x509.load_pem_x509_certificate(pem)
    builder = (
        x509.CertificateBuilder()
        .subject_name(old.subject)
        .issuer_name(old.issuer)
        .serial_number(old.serial_number)
        .not_valid_before(old.not_valid_before_utc)
        .not_valid_after(old.not_valid_after_utc)
        .public_key(key.public_key())
    )
    for extension in old.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    signing = load_pem_private_key(signer.private_key_pem.bytes(), None)
    assert isinstance(signing, ec.EllipticCurvePrivateKey)
    return builder.sign(signing, hashes.SHA256()).public_bytes(Encoding.PEM)
