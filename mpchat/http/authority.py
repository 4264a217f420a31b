"""Host and port, as in Host and in targets (RFC 3986, 3.2; RFC 9110, 7.2). Pure."""

from __future__ import annotations

import ipaddress
import re

# RFC 3986, 3.2.2: reg-name (which an IPv4 address is, too) or an IPv6 address in brackets.
_AUTHORITY = re.compile(
    r"(\[[0-9A-Fa-f:.]+\]|(?:[A-Za-z0-9._~!$&'()*+,;=-]++|%[0-9A-Fa-f]{2})+)(?::([0-9]{0,5}))?"
)


def split_authority(text: str) -> tuple[str, int | None] | None:
    """Return host, in lower case, and port of ``host[:port]``; None if it is none (RFC 9110, 7.2)."""
    found = _AUTHORITY.fullmatch(text)
    if found is None:
        return None
    host, port = found[1].lower(), int(found[2]) if found[2] else None
    if port is not None and port > 65535:
        return None
    if host.startswith("["):
        try:
            host = f"[{ipaddress.IPv6Address(host[1:-1])}]"
        except ValueError:
            return None
    return host, port
