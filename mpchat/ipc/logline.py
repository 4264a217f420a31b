"""One log line in the tskv format that userver writes, from fields to bytes.

Here because two kinds of process write it: workers through ``logs``, and the supervisor, which
imports nothing but the standard library and this room.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

LINE_BYTES = 4096
"""A line is one write of at most this size, so that lines of many processes never tear."""
_CUT = " … (cut)".encode()

_ESCAPES = str.maketrans(
    {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r", "\0": "\\0", "=": "\\="}
)
_VALUE_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r", "\0": "\\0"})


def escape_key(text: str) -> str:
    """Escape what would end a key."""
    return text.translate(_ESCAPES)


def escape_value(text: str) -> str:
    """Escape what would end a value or the line; ``=`` may stand in a value."""
    return text.translate(_VALUE_ESCAPES)


def timestamp(seconds: float) -> str:
    """Return local time as userver writes it: ``2026-11-24T09:12:08.123456``."""
    whole = int(seconds)
    micros = int((seconds - whole) * 1_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(whole)) + f".{micros:06d}"


def tskv(fields: Mapping[str, object]) -> str:
    """Return ``tskv<TAB>key=value<TAB>…`` without the line's end."""
    parts = [f"{escape_key(key)}={escape_value(str(value))}" for key, value in fields.items()]
    return "tskv\t" + "\t".join(parts)


def to_line(text: str) -> bytes:
    """Encode and end the line, cut with a mark if it is too long for one write."""
    content = text.encode("utf-8", "backslashreplace")
    if len(content) >= LINE_BYTES:
        cut = content[: LINE_BYTES - 1 - len(_CUT)].decode("utf-8", "ignore").encode()
        content = cut + _CUT
    return content + b"\n"
