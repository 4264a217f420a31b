"""From records of ``logging`` to the fields and the text of a line.

Rules. A logging call never raises: if its message cannot be formatted, the line gives the place of the
call. The connection is that of the record (``extra``), else that of the task.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, field

from mpchat.loglines.line import Encode, timestamp, to_line
from mpchat.logs.connection import CONNECTION

_WARNINGS = "py.warnings"
_formatter = logging.Formatter()


@dataclass
class Origin:
    """The process that a line comes from.

    Attributes:
        worker: The worker's place in the pool, or the kind of the process.
        generation: The generation of the dynamic config in use; None if the process uses none.
    """

    worker: str
    generation: int | None = None
    pid: int = field(default_factory=os.getpid)


def line_of(record: logging.LogRecord, origin: Origin, encode: Encode) -> bytes:
    """Return the line of a record."""
    fields = fields_of(record, origin)
    return to_line(encode, fields, text_of(record), traceback_of(record))


def own_record(level: int, text: str) -> logging.LogRecord:
    """Return a record of the logging itself."""
    return logging.LogRecord("mpchat.logs", level, "", 0, text, None, None)


def fields_of(record: logging.LogRecord, origin: Origin) -> dict[str, str | int]:
    """Return the fields of a line, without its text."""
    fields: dict[str, str | int] = {
        "timestamp": timestamp(record.created),
        "level": "TRACE" if record.levelno < logging.DEBUG else record.levelname,
        "module": record.name,
        "pid": origin.pid,
        "worker": origin.worker,
    }
    connection = getattr(record, "connection", None) or CONNECTION.get()
    if connection is not None:
        fields["connection"] = str(connection)
    if origin.generation is not None:
        fields["generation"] = origin.generation
    return fields


def text_of(record: logging.LogRecord) -> str:
    """Return the message; of a warning of Python, its first line."""
    text = _message(record)
    return text.partition("\n")[0] if record.name == _WARNINGS else text


def traceback_of(record: logging.LogRecord) -> str:
    """Return the traceback and the stack of a record, as far as it has them.

    A warning of Python has lines of source code instead.
    """
    if record.name == _WARNINGS:
        return _message(record).partition("\n")[2].rstrip("\n")
    traceback = _formatter.formatException(record.exc_info) if record.exc_info else ""
    if not record.stack_info:
        return traceback
    return f"{traceback}\n{record.stack_info}" if traceback else record.stack_info


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception as error:  # noqa: BLE001 - an author's arguments may raise anything, and no log line may end a connection
        place = f"{record.pathname}:{record.lineno}"
        return f"the log call at {place} cannot be formatted: {type(error).__name__}"
