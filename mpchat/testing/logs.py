"""The log of a worker under test, as records: what its service would write to its default logger."""

from __future__ import annotations

import logging
from typing import Self

from mpchat.logs.records import Origin, fields_of, parts_of
from mpchat.testsuite.logs import CaptureLogs, matches


class MemoryLogs(CaptureLogs):
    """``async with capture_logs() as logs:`` captures what is logged from here on, from level info."""

    def __init__(self, origin: Origin, seconds: float) -> None:
        self._origin = origin
        self._seconds = seconds
        self._records: list[dict[str, str]] = []

    async def __aenter__(self) -> Self:
        self._records.clear()
        self._handler = _Recorder(self._origin, self._records)
        root = logging.getLogger()
        self._level_before = root.level
        root.setLevel(min(root.level, logging.INFO))
        root.addHandler(self._handler)
        return self

    async def __aexit__(self, *error: object) -> None:
        root = logging.getLogger()
        root.removeHandler(self._handler)
        root.setLevel(self._level_before)

    def select(self, **fields: str) -> list[dict[str, str]]:
        """Return the records so far that have these fields; ``text`` matches any part."""
        return [record for record in self._records if matches(record, fields)]


class _Recorder(logging.Handler):
    def __init__(self, origin: Origin, records: list[dict[str, str]]) -> None:
        super().__init__()
        self._origin = origin
        self._records = records

    def emit(self, record: logging.LogRecord) -> None:
        fields = {name: str(value) for name, value in fields_of(record, self._origin).items()}
        text = "\n".join(filter(None, parts_of(record)))
        self._records.append({**fields, "text": text})
