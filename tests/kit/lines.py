"""Log lines, read as a reader of their format would."""

from __future__ import annotations

import json

from mpchat.testsuite.logs import parse_tskv


def read_line(log_format: str, line: bytes) -> dict[str, str]:
    """Return the fields of a line with its end."""
    text = line.decode()
    assert text.endswith("\n")
    text = text[:-1]
    if log_format == "json":
        return {key: str(value) for key, value in json.loads(text).items()}
    if log_format == "ltsv":
        text = "tskv\t" + "\t".join(part.replace(":", "=", 1) for part in text.split("\t"))
    if log_format == "raw":
        text = f"tskv\ttext={text}"
    return parse_tskv(text)
