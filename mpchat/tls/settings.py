"""What every context of a server has, whichever certificate it shows.

Rules. A connection begins in its listener's base context and gets another one for its certificate:
whatever OpenSSL takes from the second has to be as in the first. Only suites with authenticated
encryption are offered, and sessions cannot be renegotiated.
"""

from __future__ import annotations

import ssl
from typing import Literal

_SUITES = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""Of TLS 1.2; those of 1.3 are all of this kind."""
_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


def server_context(
    min_version: Literal["1.2", "1.3"] = "1.2", session_tickets: bool = True, ca: bytes = b""
) -> ssl.SSLContext:
    """Return a new context without a certificate.

    ``ca`` are certificates in DER, one behind the other: with them, clients need a certificate.

    Raises:
        ssl.SSLError: OpenSSL does not accept one of ``ca``.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _VERSIONS[min_version]
    context.set_ciphers(_SUITES)
    context.set_alpn_protocols(["http/1.1"])
    context.options |= ssl.OP_NO_RENEGOTIATION
    # Each ticket costs 40 to 80 microseconds. TLS 1.3 obeys the number only, 1.2 the option only.
    context.num_tickets = 1 if session_tickets else 0
    if not session_tickets:
        context.options |= ssl.OP_NO_TICKET
    if ca:
        context.load_verify_locations(cadata=ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context
