"""How a record becomes a line: tskv as userver writes it, ltsv, json, raw."""

from __future__ import annotations

import json
import logging
from typing import Any

from mpchat.ipc.logline import escape_value, timestamp, tskv

TRACE = 5


class FieldsFormatter(logging.Formatter):
    """Collects the fields that all formats show."""

    def __init__(self, worker: str) -> None:
        super().__init__()
        self._worker = worker

    def fields(self, record: logging.LogRecord) -> dict[str, Any]:
        """Return the fields of a record in the order in which they are written."""
        fields: dict[str, Any] = {
            "timestamp": timestamp(record.created),
            "level": "TRACE" if record.levelno < logging.DEBUG else record.levelname,
            "module": record.name,
            "pid": record.process,
            "worker": self._worker,
        }
        connection = getattr(record, "connection", None)
        if connection is not None:
            fields["connection"] = connection
        text = record.getMessage()
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        fields["text"] = text
        return fields


class TskvFormatter(FieldsFormatter):
    """``tskv<TAB>key=value…``."""

    def format(self, record: logging.LogRecord) -> str:
        return tskv(self.fields(record))


class LtsvFormatter(FieldsFormatter):
    """``key:value<TAB>…`` (ltsv.org)."""

    def format(self, record: logging.LogRecord) -> str:
        return "\t".join(
            f"{key}:{escape_value(str(value))}" for key, value in self.fields(record).items()
        )


class JsonFormatter(FieldsFormatter):
    """One JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        return json.dumps(self.fields(record), ensure_ascii=False)


class RawFormatter(FieldsFormatter):
    """The text alone, on one line."""

    def format(self, record: logging.LogRecord) -> str:
        return escape_value(str(self.fields(record)["text"]))


FORMATTERS: dict[str, type[FieldsFormatter]] = {
    "tskv": TskvFormatter,
    "ltsv": LtsvFormatter,
    "json": JsonFormatter,
    "raw": RawFormatter,
}
