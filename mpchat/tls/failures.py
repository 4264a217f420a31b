"""Why a TLS handshake failed: in words for the log, and by kind for the counters. Pure."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from ssl import SSLCertVerificationError, SSLError

from mpchat.scoreboard.counters import Counters


class Kind(enum.Enum):
    """Whose fault it was, as far as it can be told."""

    NOT_TLS = enum.auto()
    OFFER = enum.auto()
    """Both sides have nothing in common"""
    CERTIFICATE = enum.auto()
    """The client's is missing, or not valid"""
    ALERT = enum.auto()
    """The client has refused, as it does with ours"""
    LEFT = enum.auto()
    """It has gone, or is too slow"""
    OTHER = enum.auto()


@dataclass(frozen=True)
class Failure:
    """One way in which a handshake fails; ``text`` is for the log."""

    kind: Kind
    text: str

    def count(self, counters: Counters) -> None:
        """Count one more of its kind."""
        match self.kind:
            case Kind.NOT_TLS:
                counters.tls_not_tls += 1
            case Kind.OFFER:
                counters.tls_no_common_offer += 1
            case Kind.CERTIFICATE:
                counters.tls_bad_certificates += 1
            case Kind.ALERT:
                counters.tls_alerts += 1
            case Kind.LEFT:
                counters.tls_left += 1
            case Kind.OTHER:
                counters.tls_other_failures += 1


NOT_TLS = Failure(Kind.NOT_TLS, "not TLS")
LEFT = Failure(Kind.LEFT, "the client left within the TLS handshake")
LATE = Failure(Kind.LEFT, "no TLS handshake in time")
GAVE_WAY = Failure(Kind.LEFT, "too many TLS handshakes, and this one waited longest for its client")
EXPIRED = Failure(Kind.CERTIFICATE, "client certificate: it is not valid now")
PIECES = Failure(Kind.OTHER, "a ClientHello in too many records")
FINITE_FIELD = Failure(Kind.OFFER, "the client prefers finite-field key exchange")
TOO_LONG = Failure(Kind.OTHER, "a TLS handshake of too many bytes")
_OLD = Failure(Kind.OFFER, "the client's TLS version is too old")

_BY_REASON = {
    "UNSUPPORTED_PROTOCOL": _OLD,
    "VERSION_TOO_LOW": _OLD,
    "NO_SHARED_CIPHER": Failure(Kind.OFFER, "no cipher in common"),
    "NO_SHARED_SIGNATURE_ALGORITHMS": Failure(Kind.OFFER, "no signature algorithm in common"),
    "NO_SUITABLE_SIGNATURE_ALGORITHM": Failure(Kind.OFFER, "no signature algorithm in common"),
    "NO_SUITABLE_KEY_SHARE": Failure(Kind.OFFER, "no key exchange in common"),
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": Failure(Kind.CERTIFICATE, "no client certificate"),
    "EXCESSIVE_MESSAGE_SIZE": Failure(Kind.OTHER, "a message of the TLS handshake is too long"),
}


def why(error: SSLError) -> Failure:
    """Return why OpenSSL says that a handshake failed."""
    if isinstance(error, SSLCertVerificationError):
        return Failure(Kind.CERTIFICATE, f"client certificate: {error.verify_message}")
    reason = error.reason or str(error)
    found = _BY_REASON.get(reason)
    if found is not None:
        return found
    words = reason.lower().replace("_", " ")
    _version, is_alert, alert = words.partition("alert ")
    if is_alert:
        return Failure(Kind.ALERT, f"the client's alert: {alert}")
    return Failure(Kind.OTHER, f"no TLS handshake: {words}")
