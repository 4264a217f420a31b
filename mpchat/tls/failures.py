"""Why a TLS handshake failed: in words for the log, and by class for the counters. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from ssl import SSLCertVerificationError, SSLError

from mpchat.scoreboard.counters import Counters


@dataclass(frozen=True)
class Failure:
    """One way in which a handshake fails.

    Attributes:
        counter: The field of the counters for this class.
        text: What happened.
    """

    counter: str
    text: str

    def count(self, counters: Counters) -> None:
        """Count one more."""
        setattr(counters, self.counter, getattr(counters, self.counter) + 1)


_OFFER, _CERTIFICATE, _ALERT = "tls_no_common_offer", "tls_bad_certificates", "tls_alerts"
_LEFT, _OTHER = "tls_left", "tls_other_failures"

NOT_TLS = Failure("tls_not_tls", "not TLS")
LEFT = Failure(_LEFT, "the client left within the TLS handshake")
LATE = Failure(_LEFT, "no TLS handshake in time")
GAVE_WAY = Failure(_LEFT, "too many TLS handshakes, and this one waited longest for its client")
PIECES = Failure(_OTHER, "a ClientHello in too many records")
FINITE_FIELD = Failure(_OFFER, "the client prefers finite-field key exchange")
TOO_LONG = Failure(_OTHER, "a TLS handshake of too many bytes")

_WORDS = {
    "UNSUPPORTED_PROTOCOL": Failure(_OFFER, "the client's TLS version is too old"),
    "VERSION_TOO_LOW": Failure(_OFFER, "the client's TLS version is too old"),
    "NO_SHARED_CIPHER": Failure(_OFFER, "no cipher in common"),
    "NO_SUITABLE_SIGNATURE_ALGORITHM": Failure(_OFFER, "no signature algorithm in common"),
    "NO_SUITABLE_KEY_SHARE": Failure(_OFFER, "no key exchange in common"),
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": Failure(_CERTIFICATE, "no client certificate"),
    "EXCESSIVE_MESSAGE_SIZE": Failure(_OTHER, "a message of the TLS handshake is too long"),
}


def why(error: SSLError) -> Failure:
    """Return why OpenSSL says that a handshake failed."""
    if isinstance(error, SSLCertVerificationError):
        return Failure(_CERTIFICATE, f"client certificate: {error.verify_message}")
    reason = error.reason or str(error)
    found = _WORDS.get(reason)
    if found is not None:
        return found
    words = reason.lower().replace("_", " ")
    _version, is_alert, alert = words.partition("alert ")
    if is_alert:
        return Failure(_ALERT, f"the client's alert: {alert}")
    return Failure(_OTHER, f"no TLS handshake: {words}")
