"""One log line, from fields to bytes, in userver's formats: tskv, ltsv, json, raw.

Rules. A line has at most 4,096 bytes and ends with its only newline, so it is one write, which no other
process's line can split. A line that is too long loses the middle of its text or its traceback: the
beginning says what happened, the end of a traceback says why. Both are cut before they are encoded, so a
cut line is well-formed. Escapes are userver's, also in ltsv, which defines none. No format lets control
characters through, since clients choose some of the logged text.
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
Encode: TypeAlias = Callable[[Fields, str, str], bytes]
"""A format: turns fields, a text and its traceback, or none, into a line of any length."""

_ESCAPES = (("\t", "\\t"), ("\n", "\\n"), ("\r", "\\r"), ("\0", "\\0"))
_CONTROL = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]"
)
"""C0, DEL and C1; Unicode's two separators and its direction marks; the BOM."""
_to_json = json.JSONEncoder(ensure_ascii=False).encode


def escape(text: str) -> str:
    """Escape characters that would end a value or the line, and all other control characters."""
    text = text.replace("\\", "\\\\")
    return text if text.isprintable() else escape_controls(text)


def escape_controls(text: str) -> str:
    """Escape control characters alone: a backslash stands for itself."""
    if text.isprintable():
        return text
    # Faster than str.translate, by far if much is to be escaped.
    for found, escaped in _ESCAPES:
        text = text.replace(found, escaped)
    return text if text.isprintable() else _CONTROL.sub(_escape_control, text)


def _escape_control(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"


def tskv(fields: Fields, text: str, traceback: str) -> bytes:
    """Return ``tskv<TAB>key=value<TAB>…``."""
    return f"tskv\t{_pairs(fields, '=')}\ttext={escape(_joined(text, traceback))}\n".encode()


def ltsv(fields: Fields, text: str, traceback: str) -> bytes:
    """Return ``key:value<TAB>…`` (ltsv.org)."""
    return f"{_pairs(fields, ':')}\ttext:{escape(_joined(text, traceback))}\n".encode()


def to_json(fields: Fields, text: str, traceback: str) -> bytes:
    """Return one JSON object; numbers are numbers."""
    line = _to_json({**fields, "text": _joined(text, traceback)})
    if not line.isprintable():
        line = _CONTROL.sub(_escape_control, line)
    return f"{line}\n".encode()


def raw(fields: Fields, text: str, traceback: str) -> bytes:
    """Return only the text, as in userver's access logs of this format."""
    return f"{escape(_joined(text, traceback))}\n".encode()


FORMATS: dict[str, Encode] = {"tskv": tskv, "ltsv": ltsv, "json": to_json, "raw": raw}


def to_line(encode: Encode, fields: Fields, text: str, traceback: str = "") -> bytes:
    """Return the line, cut with a mark if it is too long for one write."""
    if len(text) + len(traceback) < LINE_BYTES:
        try:
            line = encode(fields, text, traceback)
        except UnicodeEncodeError:
            # Lone surrogates, as in file names that are not UTF-8, are escaped.
            replaced = _replace_surrogates(text), _replace_surrogates(traceback)
            return to_line(encode, _without_surrogates(fields), *replaced)
        if len(line) <= LINE_BYTES:
            return line
    return _cut(encode, _without_surrogates(fields), text, traceback)


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


def _joined(text: str, traceback: str) -> str:
    return f"{text}\n{traceback}" if traceback else text


def _cut(encode: Encode, fields: Fields, text: str, traceback: str) -> bytes:
    """Return a line that fits; a traceback leaves its text half of the room."""
    short = {
        key: value[:_FIELD_CHARACTERS] if isinstance(value, str) else value
        for key, value in fields.items()
    }
    most = (len(encode(short, "", "")) + LINE_BYTES) // 2 if traceback else LINE_BYTES
    text = _fitting(lambda cut: encode(short, cut, ""), text, most)
    traceback = _fitting(lambda cut: encode(short, text, cut), traceback, LINE_BYTES)
    return encode(short, text, traceback)


def _fitting(encode: Callable[[str], bytes], text: str, most: int) -> str:
    """Return the text without as much of its middle as makes the line longer than ``most`` bytes."""
    # Each character becomes at least one byte, so no more characters than these can stay.
    text = _replace_surrogates(text[:most] + text[most:][-most:])
    if len(encode(text)) <= most:
        return text

    def keep(characters: int) -> str:
        end = characters // 2
        return text[: characters - end] + CUT + text[len(text) - end :]

    fits = bisect.bisect_right(range(len(text)), most, key=lambda kept: len(encode(keep(kept))))
    return keep(max(0, fits - 1))


def _without_surrogates(fields: Fields) -> Fields:
    return {
        key: _replace_surrogates(value) if isinstance(value, str) else value
        for key, value in fields.items()
    }


def _replace_surrogates(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()
