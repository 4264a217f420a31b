"""The two ways from a logger to its file: through a queue in workers, directly in other processes."""

from __future__ import annotations

import logging

from mpchat.loglines.file import DirectLog
from mpchat.loglines.line import Encode
from mpchat.logs.records import Origin, fields_of, line_of, own_record, parts_of
from mpchat.logs.writer import LineQueue, LogWriter


class QueueHandler(logging.Handler):
    """Queues the line of a record; a lock of ``logging`` admits one thread at a time."""

    def __init__(
        self, queue: LineQueue, writer: LogWriter, origin: Origin, encode: Encode, flush_level: int
    ) -> None:
        super().__init__()
        self._queue = queue
        self._writer = writer
        self._origin = origin
        self._encode = encode
        self._flush_level = flush_level

    def emit(self, record: logging.LogRecord) -> None:
        """Queue the line."""
        line = line_of(record, self._origin, self._encode)
        self._queue.count(record.levelno)
        self._writer.put(self._queue, line, urgent=record.levelno >= self._flush_level)


class DirectHandler(logging.Handler):
    """Writes the line of a record if the file takes it without waiting."""

    def __init__(self, direct: DirectLog, origin: Origin) -> None:
        super().__init__()
        self.file = direct.file
        self._direct = direct
        self._origin = origin

    def emit(self, record: logging.LogRecord) -> None:
        """Write the line."""
        self._direct.write(fields_of(record, self._origin), *parts_of(record))

    def reopen(self) -> str | None:
        """Open the file that is now at the path; return why that failed, or None."""
        trouble = self.file.reopen()
        if trouble is not None:
            self.emit(own_record(logging.ERROR, trouble))
        return trouble

    def close(self) -> None:
        """Close this handler and its file."""
        self.file.close()
        super().close()
