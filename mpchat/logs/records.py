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
    return to_line(encode, fields_of(record, origin), *parts_of(record))


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


def parts_of(record: logging.LogRecord) -> tuple[str, str]:
    """Return the message of a record, and below it the traceback and the stack, as far as it has them.

    Below a warning of Python stands its line of source code.
    """
    try:
        text = record.getMessage()
    except Exception as error:  # noqa: BLE001 - an author's arguments may raise anything, and no log line may end a connection
        place = f"{record.pathname}:{record.lineno}"
        text = f"the log call at {place} cannot be formatted: {type(error).__name__}"
    if record.name == _WARNINGS:
        text, _end, source = text.partition("\n")
        return text, source.rstrip("\n")
    below = _formatter.formatException(record.exc_info) if record.exc_info else ""
    if record.stack_info:
        below += f"\n{record.stack_info}" if below else record.stack_info
    return text, below
