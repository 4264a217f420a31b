"""A certificate with its chain and its private key: the content of their files, and its check.

Rules. A pair is content, not paths: whoever gets it needs no access to the files. Nothing of it is in its
repr but the paths. The check finds what OpenSSL would find only when the pair is in force, and what it
would never find: dates and the order of the chain. Each text says what to do.
"""

from __future__ import annotations

import itertools
import ssl
import time
from dataclasses import dataclass, field
from typing import Any, Self

from mpchat.errors import MpchatError
from mpchat.linux import descriptors
from mpchat.linux.memfd import sealed_memfd
from mpchat.tls.der import Certificate, read_chain
from mpchat.tls.formats import other_format
from mpchat.tls.pem import read_blocks
from mpchat.tls.settings import server_context

_NO_CHECK_TIME = 0x200000
"""OpenSSL's X509_V_FLAG_NO_CHECK_TIME, which Python's ssl does not name"""
_FLIGHTS = 10
"""More than any handshake has"""
_ANOTHER_KEY = {"KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED"}
_WEAK = {"EE_KEY_TOO_SMALL", "CA_KEY_TOO_SMALL", "CA_MD_TOO_WEAK", "DH_KEY_TOO_SMALL"}


class CertificateError(MpchatError):
    """A file of a certificate or a key is not usable as it is; ``text`` says why and what to do."""

    def __init__(self, path: str, text: str) -> None:
        self.path = path
        self.text = text
        super().__init__(f"{path}: {text}")


@dataclass(frozen=True, slots=True)
class Pair:
    """A chain and its key.

    Attributes:
        cert_path: Where the chain is from, for texts only.
        key_path: Where the key is from; may be the same file.
        chain: PEM of the certificate and of those that lead to its root.
        key: PEM of the private key.
        passphrase: Of the key; None unless the config gives one.
    """

    cert_path: str
    key_path: str
    chain: bytes = field(repr=False)
    key: bytes = field(repr=False)
    passphrase: str | None = field(repr=False)

    def load(self, context: ssl.SSLContext) -> None:
        """Load it into a context, which must be new: a failure leaves a context broken.

        Raises:
            ssl.SSLError: OpenSSL does not accept the pair. It never asks a terminal for a passphrase.
            OSError: The system refuses a descriptor or memory, or there is no /proc.
            ValueError: The passphrase is longer than OpenSSL's 1,024 bytes.
        """
        passphrase = self.passphrase or ""
        opened: list[int] = []
        try:
            # OpenSSL reads from paths only. Two files: it would take a key that is in the chain's.
            for name, content in (("mpchat-chain", self.chain), ("mpchat-key", self.key)):
                opened.append(sealed_memfd(name, content))
            chain, key = (f"/proc/self/fd/{descriptor}" for descriptor in opened)
            context.load_cert_chain(chain, key, password=lambda: passphrase)
        finally:
            descriptors.close_all(opened)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON, with its secrets."""
        return {
            "cert_path": self.cert_path,
            "key_path": self.key_path,
            "chain": self.chain.decode("latin-1"),
            "key": self.key.decode("latin-1"),
            "passphrase": self.passphrase,
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """Return what ``to_json`` was called on."""
        return cls(
            value["cert_path"],
            value["key_path"],
            value["chain"].encode("latin-1"),
            value["key"].encode("latin-1"),
            value["passphrase"],
        )


def check(pair: Pair, now: float) -> Certificate:
    """Return the certificate that clients will see.

    ``now`` is in seconds since 1970.

    Raises:
        CertificateError: Clients could not connect, or would refuse the certificate.
        OSError: The system refuses a descriptor or memory, or there is no /proc.
    """
    chain = read_certificates(pair.cert_path, pair.chain)
    _check_key(pair)
    _check_order(pair, chain)
    _check_dates(pair, chain, now)
    context = server_context()
    try:
        pair.load(context)
    except ssl.SSLError as error:
        raise _refusal(pair, error) from error
    except ValueError as error:
        raise CertificateError(pair.key_path, f"the passphrase does not fit: {error}") from error
    _try(pair, context, chain)
    return chain[0]


def read_certificates(path: str, content: bytes) -> tuple[Certificate, ...]:
    """Return the certificates of a file, whether a chain or authorities; ``path`` is for texts.

    Raises:
        CertificateError: It has none, or one that OpenSSL does not accept.
    """
    try:
        found = read_chain(content)
        server_context(ca=b"".join(certificate.der for certificate in found))
    except ssl.SSLError as error:
        raise CertificateError(path, f"OpenSSL refuses a certificate: {_reason(error)}") from error
    except ValueError as error:
        raise CertificateError(path, other_format(content, "certificate") or str(error)) from error
    return found


def _check_key(pair: Pair) -> None:
    try:
        keys = [block for block in read_blocks(pair.key) if block.is_key]
        if not keys:
            text = other_format(pair.key, "private key") or "there is no private key"
            raise CertificateError(pair.key_path, text)
        if keys[0].label == "OPENSSH PRIVATE KEY":
            raise CertificateError(
                pair.key_path,
                "the key is in the format of OpenSSH: write it again by ssh-keygen -p -m pem",
            )
    except ValueError as error:
        raise CertificateError(pair.key_path, str(error)) from error
    if keys[0].is_encrypted and pair.passphrase is None:
        raise CertificateError(
            pair.key_path,
            "the key is encrypted and there is no passphrase: set private-key-passphrase-name, "
            "private-key-passphrase#env or private-key-passphrase#file",
        )


def _check_order(pair: Pair, chain: tuple[Certificate, ...]) -> None:
    for number, (one, issuer) in enumerate(itertools.pairwise(chain), 1):
        if one.issuer_name == issuer.subject_name:
            continue
        if number == 1 and issuer.issuer_name == one.subject_name:
            raise CertificateError(
                pair.cert_path,
                f"the certificate of the authority ({_who(one)}) is before the one that it issued "
                f"({_who(issuer)}): the server's own comes first, and behind each one its issuer",
            )
        raise CertificateError(
            pair.cert_path,
            f"certificate {number + 1} ({_who(issuer)}) did not issue certificate {number} "
            f"({_who(one)}), but {one.issuer!r} did: the server's own comes first, behind each one its "
            "issuer, and nothing else",
        )


def _check_dates(pair: Pair, chain: tuple[Certificate, ...], now: float) -> None:
    for number, certificate in enumerate(chain, 1):
        # Clients have their own copy of a root, and do not look at this one.
        if number > 1 and certificate.subject_name == certificate.issuer_name:
            continue
        which = f"certificate {number} ({_who(certificate)})"
        if now > certificate.not_after:
            raise CertificateError(
                pair.cert_path, f"{which} expired on {_date(certificate.not_after)}: renew it"
            )
        if now < certificate.not_before:
            raise CertificateError(
                pair.cert_path,
                f"{which} is not valid before {_date(certificate.not_before)}: use it then, or set this "
                "machine's clock",
            )


def _refusal(pair: Pair, error: ssl.SSLError) -> CertificateError:
    """Return what it means that OpenSSL does not load a pair whose certificates can be read."""
    reason = _reason(error)
    if reason in _ANOTHER_KEY:
        return CertificateError(
            pair.key_path,
            f"the key is not that of the certificate in {pair.cert_path}: give the one that the "
            "certificate was requested with",
        )
    if reason in _WEAK:
        return CertificateError(
            pair.cert_path,
            f"OpenSSL finds a certificate too weak ({reason}): get one with a key of EC P-256, or of RSA "
            "with 2,048 bits, signed with SHA-256",
        )
    if next(block for block in read_blocks(pair.key) if block.is_key).is_encrypted:
        text = f"the passphrase is wrong, or the key is damaged (OpenSSL: {reason})"
    else:
        text = (
            f"OpenSSL cannot use the key with {pair.cert_path}; is it damaged? (OpenSSL: {reason})"
        )
    return CertificateError(pair.key_path, text)


def _try(pair: Pair, context: ssl.SSLContext, chain: tuple[Certificate, ...]) -> None:
    """Shake hands in memory, as a client that trusts what is behind the server's own certificate."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | _NO_CHECK_TIME
    client.load_verify_locations(cadata=b"".join(one.der for one in chain[1:] or chain))
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server),
        context.wrap_bio(to_server, to_client, server_side=True),
    ]
    seen = None
    try:
        for _flight in range(_FLIGHTS):
            for end in tuple(ends):
                try:
                    end.do_handshake()
                except ssl.SSLWantReadError:
                    continue
                ends.remove(end)
                seen = seen or end.getpeercert(binary_form=True)
    except ssl.SSLCertVerificationError as error:
        raise CertificateError(
            pair.cert_path, f"clients will refuse the certificate: {error.verify_message}"
        ) from error
    except ssl.SSLError as error:
        raise CertificateError(
            pair.cert_path,
            f"no client can use a key of this kind ({_reason(error)}): get a certificate with a key of "
            "EC P-256, or of RSA with 2,048 bits",
        ) from error
    if ends:
        raise CertificateError(pair.cert_path, "a handshake with it does not come to an end")
    if seen != chain[0].der:
        raise CertificateError(
            pair.cert_path,
            "OpenSSL reads another certificate first: write the file again, with nothing but the chain",
        )


def _reason(error: ssl.SSLError) -> str:
    # Without a reason there is a text such as "[SSL] PEM lib (_ssl.c:3926)".
    return error.reason or str(error).partition("] ")[2].partition(" (")[0] or str(error)


def _who(certificate: Certificate) -> str:
    return certificate.subject or ", ".join(certificate.names) or "without a name"


def _date(seconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))
