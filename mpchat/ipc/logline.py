"""One log line, from fields to bytes, in the formats that userver has: tskv, ltsv, json, raw.

Here because two kinds of process write lines: workers through ``logs``, and the supervisor, which
imports nothing but the standard library and this room.

Rules. A line has at most 4,096 bytes and ends with its only newline, so it is one write that no other
process's line gets into. What is too long loses the middle of its text: what happened stands at the
beginning, why (of a traceback) at the end. It is cut before it is encoded, so a line that was cut is as
well-formed as any other. Escapes are userver's; ltsv has none of its own and gets the same. Control
characters never get through, in any format: some of what is logged was chosen by a client.
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
"""The longest line with its end: what a pipe takes in one piece (PIPE_BUF)."""
CUT = " … (cut) … "
"""Stands where a text has lost its middle."""
_FIELD_CHARACTERS = 100
"""Names are shortened to this where a line is too long: those beside the text must leave room for it."""

Fields: TypeAlias = Mapping[str, str | int]
"""What a line says beside its text, in the order in which it is written."""
Encode: TypeAlias = Callable[[Fields, str], bytes]
"""A format: fields and text to a line, however long."""

_ESCAPES = (("\\", "\\\\"), ("\t", "\\t"), ("\n", "\\n"), ("\r", "\\r"), ("\0", "\\0"))
"""The backslash first, or it would escape those of the others."""
_CONTROL = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]"
)
"""C0, DEL and C1; both separators of Unicode; marks that turn the direction of writing; the BOM."""
_to_json = json.JSONEncoder(ensure_ascii=False).encode


def escape(text: str) -> str:
    """Escape what would end a value or the line, and every other control character by its number."""
    if text.isprintable():
        return text.replace("\\", "\\\\")
    # Faster than str.translate, by far where much is to be escaped.
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
    """Return the text alone, as userver's access logs of this format are."""
    return f"{escape(text)}\n".encode()


FORMATS: dict[str, Encode] = {"tskv": tskv, "ltsv": ltsv, "json": to_json, "raw": raw}


def to_line(encode: Encode, fields: Fields, text: str) -> bytes:
    """Return the line, cut with a mark if it is too long for one write."""
    if len(text) < LINE_BYTES:
        try:
            line = encode(fields, text)
        except UnicodeEncodeError:
            # Lone surrogates, as file names that are no UTF-8 have them, become their escapes.
            return to_line(encode, _without_surrogates(fields), _replace_surrogates(text))
        if len(line) <= LINE_BYTES:
            return line
    return _cut(encode, _without_surrogates(fields), text)


def timestamp(seconds: float) -> str:
    """Return local time as userver writes it: ``2026-11-24T09:12:08.123456``."""
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
    # Each character becomes at least one byte: what is between these cannot stay.
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
