"""The log of a service, as records."""

from __future__ import annotations

import asyncio
import re
import time
from typing import Self

from mpchat.testsuite.service import DEADLINE, Service

_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "0": "\0", "\\": "\\", "=": "="}


def parse_tskv(line: str) -> dict[str, str]:
    """Return the fields of a tskv line; a line in another format is its text."""
    prefix, _tab, rest = line.partition("\t")
    if prefix != "tskv":
        return {"text": line}
    fields = {}
    for part in rest.split("\t"):
        key, _equals, value = part.partition("=")
        fields[key] = _unescape(value)
    return fields


def _unescape(value: str) -> str:
    return re.sub(r"\\(u[0-9a-f]{4}|.)", _escaped, value)


def _escaped(found: re.Match[str]) -> str:
    what = found[1]
    return chr(int(what[1:], 16)) if len(what) > 1 else _ESCAPES.get(what, what)


class CaptureLogs:
    """``async with capture_logs() as logs:`` captures the lines logged from here on."""

    _seconds = DEADLINE
    """Longest time until a record comes"""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._begin = 0

    def __call__(self) -> Self:
        """Return this object, to be entered again."""
        return self

    async def __aenter__(self) -> Self:
        self._begin = len(self._service.stderr())
        return self

    async def __aexit__(self, *error: object) -> None:
        return

    def select(self, **fields: str) -> list[dict[str, str]]:
        """Return the records so far that have these fields; ``text`` matches any part."""
        lines = self._service.stderr()[self._begin :].split("\n")[:-1]
        records = [parse_tskv(line) for line in lines]
        return [record for record in records if matches(record, fields)]

    async def wait_for(self, **fields: str) -> dict[str, str]:
        """Wait for a record, since workers write lines a moment after they log them.

        Raises:
            TimeoutError: No such record came.
        """
        end = time.monotonic() + self._seconds
        while not (found := self.select(**fields)):
            if time.monotonic() > end:
                raise TimeoutError(f"within {self._seconds:g} s there was no record with {fields}")
            await asyncio.sleep(0.01)
        return found[0]


def matches(record: dict[str, str], wanted: dict[str, str]) -> bool:
    """Return whether a record has these fields; ``text`` matches any part."""
    return all(
        value in record.get(name, "") if name == "text" else record.get(name) == value
        for name, value in wanted.items()
    )
