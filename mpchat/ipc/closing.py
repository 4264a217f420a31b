"""What a Close may say, for processes that have others send one."""

from __future__ import annotations

CLOSE_CODES = frozenset({1000, 1001, 1002, 1003, *range(1007, 1015), *range(3000, 5000)})
"""Codes that a Close may have (RFC 6455, 7.4, and its registry)."""
MAX_REASON = 123
"""Bytes of a reason (RFC 6455, 5.5)."""
IDENTITY_GONE = 4401
"""The code that tells a client to find out anew who it is."""


def check_close(code: int, reason: str) -> str:
    """Return why a connection cannot be closed with these, or nothing."""
    if code not in CLOSE_CODES:
        return "expected a code that a Close may have, such as one from 3000 to 4999"
    try:
        size = len(reason.encode())
    except UnicodeEncodeError:
        return "expected a reason that UTF-8 can write"
    return f"expected a reason of at most {MAX_REASON} bytes" if size > MAX_REASON else ""
