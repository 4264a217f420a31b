"""Tokens, of which methods, field names and many values consist (RFC 9110, 5.6.2), and field lines."""

from __future__ import annotations

import re

TCHAR = r"[!#$%&'*+.^_`|~0-9A-Za-z-]"
TOKEN = re.compile(f"{TCHAR}+")

# RFC 9112, 5.1, 5.2: no space before the colon, no folded lines, no bare CR or LF in values.
FIELD_LINES = re.compile(rf"(?:{TCHAR}++:[\x09\x20-\x7e\x80-\xff]*+\r\n)*")
BARE_END = re.compile(rb"(?<!\r)\n|\r(?!\n|\Z)")
"""A CR or LF that does not end a line; a CR at the end may still get its LF."""
