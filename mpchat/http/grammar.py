"""Tokens, of which methods, field names and many values consist (RFC 9110, 5.6.2)."""

from __future__ import annotations

import re

TCHAR = r"[!#$%&'*+.^_`|~0-9A-Za-z-]"
TOKEN = re.compile(f"{TCHAR}+")
