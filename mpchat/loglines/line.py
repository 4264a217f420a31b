"""One log line, from fields to bytes, in userver's formats: tskv, ltsv, json, raw.

Rules. A line has at most 4,096 bytes and ends with its only newline, so it is one write, which no other
process's line can split. A text that is too long loses its middle: the beginning says what happened, the
end of a traceback says why. Texts are cut before they are encoded, so a cut line is well-formed. Escapes
are userver's, also in ltsv, which defines none. No format lets control characters through, since clients
choose some of the logged text.
"""

from __future__ import annotations

import bisect
import json
import re
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TypeAlias

LINE_BYTES = 4096
"""The longest line with its end: the size that a pipe takes in one piece (PIPE_BUF)."""
CUT = " … (cut) … "
"""Replaces the middle of a text that is too long."""
_FIELD_CHARACTERS = 100
"""Characters that each field of a line that is too long keeps, so that there is room for its text."""

Fields: TypeAlias = Mapping[str, str | int]
"""The fields of a line without its text, in the order of writing."""
Encode: TypeAlias = Callable[[Fields, str], bytes]
"""A format: turns fields and text into a line of any length."""

_ESCAPES = (("\\", "\\\\"), ("\t", "\\t"), ("\n", "\\n"), ("\r", "\\r"), ("\0", "\\0"))
"""The backslash comes first; later it would escape the backslashes of the others."""
_CONTROL = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]"
)
"""C0, DEL and C1; Unicode's two separators and its direction marks; the BOM."""
_to_json = json.JSONEncoder(ensure_ascii=False).encode


def escape(text: str) -> str:
    """Escape characters that would end a value or the line, and all other control characters."""
    if text.isprintable():
        return text.replace("\\", "\\\\")
    # Faster than str.translate, by far if much is to be escaped.
    for found, escaped in _ESCAPES:
        text = text.replace(found, escaped)
    return text if text.isprintable() else _CONTROL.sub(_escape_control, text)


def _escape_control(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"


def tskv(fields: Fields, text: str) -> bytes:
    """Return ``tskv<TAB>key=value<TAB>…``."""
    return f"tskv\t{_pairs(fields, '=')}\ttext={escape(text)}\n".encode()


def ltsv(fields: Fields, text: str) -> bytes:
    """Return ``key:value<TAB>…`` (ltsv.org)."""
    return f"{_pairs(fields, ':')}\ttext:{escape(text)}\n".encode()


def to_json(fields: Fields, text: str) -> bytes:
    """Return one JSON object; numbers are numbers."""
    line = _to_json({**fields, "text": text})
    if not line.isprintable():
        line = _CONTROL.sub(_escape_control, line)
    return f"{line}\n".encode()


def raw(fields: Fields, text: str) -> bytes:
    """Return only the text, as in userver's access logs of this format."""
    return f"{escape(text)}\n".encode()


FORMATS: dict[str, Encode] = {"tskv": tskv, "ltsv": ltsv, "json": to_json, "raw": raw}


def to_line(encode: Encode, fields: Fields, text: str) -> bytes:
    """Return the line, cut with a mark if it is too long for one write."""
    if len(text) < LINE_BYTES:
        try:
            line = encode(fields, text)
        except UnicodeEncodeError:
            # Lone surrogates, as in file names that are not UTF-8, are escaped.
            return to_line(encode, _without_surrogates(fields), _replace_surrogates(text))
        if len(line) <= LINE_BYTES:
            return line
    return _cut(encode, _without_surrogates(fields), text)


def timestamp(seconds: float) -> str:
    """Return local time in userver's format: ``2026-11-24T09:12:08.123456``."""
    whole = int(seconds)
    return f"{_second(whole)}.{int((seconds - whole) * 1_000_000):06d}"


@lru_cache(maxsize=2)
def _second(whole: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(whole))


def _pairs(fields: Fields, separator: str) -> str:
    return "\t".join(
        [
            f"{key}{separator}{escape(value) if isinstance(value, str) else value}"
            for key, value in fields.items()
        ]
    )


def _cut(encode: Encode, fields: Fields, text: str) -> bytes:
    short = {
        key: value[:_FIELD_CHARACTERS] if isinstance(value, str) else value
        for key, value in fields.items()
    }
    # Each character becomes at least one byte, so no more characters than these can stay.
    text = text[:LINE_BYTES] + text[LINE_BYTES:][-LINE_BYTES:]
    text = _replace_surrogates(text)
    line = encode(short, text)
    if len(line) <= LINE_BYTES:
        return line

    def keep(characters: int) -> bytes:
        end = characters // 2
        return encode(short, text[: characters - end] + CUT + text[len(text) - end :])

    fitting = bisect.bisect_right(range(len(text)), LINE_BYTES, key=lambda kept: len(keep(kept)))
    return keep(fitting - 1)


def _without_surrogates(fields: Fields) -> Fields:
    return {
        key: _replace_surrogates(value) if isinstance(value, str) else value
        for key, value in fields.items()
    }


def _replace_surrogates(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()
