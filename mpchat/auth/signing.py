"""Text that only holders of a key can make: a payload with its MAC (HMAC-SHA256, RFC 2104).

Rules. What is signed for one purpose is not valid for another. Every payload has one text for each key:
nothing but the canonical form of base64url is read (RFC 4648, 3.5 and 5, without padding).
"""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Sequence
from typing import Annotated

from pydantic import AfterValidator, SecretStr

MIN_KEY = 32
"""Characters of a key at the least: as many bytes as the MAC has (RFC 2104, 3)."""


def _check_key(key: SecretStr) -> SecretStr:
    if len(key) < MIN_KEY:
        # Its text does not repeat the key.
        raise ValueError(f"expected a key of at least {MIN_KEY} characters")
    return key


SecretKey = Annotated[SecretStr, AfterValidator(_check_key)]
"""An option with a key."""

_BASE64URL = re.compile("[A-Za-z0-9_-]*")


def sign(key: bytes, purpose: str, payload: bytes) -> str:
    """Return the text for a payload, safe in URLs and cookies."""
    return f"{encode(payload)}.{encode(_mac(key, purpose, payload))}"


def verify(keys: Sequence[bytes], purpose: str, text: str) -> bytes | None:
    """Return the payload, None if the text was not made with one of the keys for this purpose."""
    first, dot, second = text.partition(".")
    payload, mac = decode(first), decode(second)
    if not dot or payload is None or mac is None:
        return None
    # Every key is tried, so the time tells nothing about which one fits.
    fits = [hmac.compare_digest(_mac(key, purpose, payload), mac) for key in keys]
    return payload if any(fits) else None


def encode(content: bytes) -> str:
    """Return base64url without padding."""
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def decode(text: str) -> bytes | None:
    """Return what ``encode`` was given, None if the text is not what it returns."""
    if _BASE64URL.fullmatch(text) is None or len(text) % 4 == 1:
        return None
    content = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    # The last character may have bits that stand for nothing.
    return content if encode(content) == text else None


def _mac(key: bytes, purpose: str, payload: bytes) -> bytes:
    return hmac.digest(key, purpose.encode() + b"\0" + payload, "sha256")
