"""What operators may know of a listener's certificates."""

from __future__ import annotations

import time
from typing import Any

from mpchat.tls.der import Certificate

WARNING_SECONDS = 14 * 86400
"""How long before its end a certificate is warned of"""


def show(listener: str, path: str, certificate: Certificate) -> dict[str, Any]:
    """Return a certificate as JSON: where it is served, its file, whose it is, and until when."""
    return {
        "listener": listener,
        "path": path,
        "subject": certificate.subject,
        "names": list(certificate.names),
        "issuer": certificate.issuer,
        "not_before": certificate.not_before,
        "not_after": certificate.not_after,
    }


def expiry_warning(shown: dict[str, Any], now: float) -> str:
    """Return what to tell an operator of a certificate that ends soon, or nothing; times since 1970."""
    left = shown["not_after"] - now
    if left > WARNING_SECONDS:
        return ""
    name = shown["names"][0] if shown["names"] else shown["subject"]
    at = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(shown["not_after"]))
    if left <= 0:
        return f"{shown['path']}: the certificate for {name} has expired at {at}: clients refuse it"
    days = int(left // 86400)
    when = "in less than a day" if not days else "in a day" if days == 1 else f"in {days} days"
    return f"{shown['path']}: the certificate for {name} expires {when}, at {at}"
