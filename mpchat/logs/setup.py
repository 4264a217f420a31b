"""From options to working loggers, in each process after its fork.

Rules. Nothing waits for a disk or a pipe but one thread of ours: a record is formatted by who logs it,
queued, and written by that thread, one write for each line. A full queue drops the line (counted) or, as
the option ``block`` says, holds the caller. Threads do not survive a fork, so ``set_up`` comes after it.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
from collections.abc import Callable

from mpchat.errors import ExitCode, StartError, describe_os_error
from mpchat.ipc.logline import to_line
from mpchat.logs.formats import FORMATTERS, TRACE
from mpchat.logs.options import LoggerOptions, LoggingOptions

_STANDARD = {"@stderr": 2, "@stdout": 1}
_FLUSH_SECONDS = 1.0
LEVELS = {
    "trace": TRACE,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
    "none": logging.CRITICAL + 10,
}


class LogWriter:
    """The queue of lines and the thread that writes them."""

    def __init__(self, size: int) -> None:
        self.queue: queue.Queue[tuple[int, bytes] | None] = queue.Queue(size)
        self._thread = threading.Thread(target=self._run, name="mpchat-log", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Write what is queued, for at most a second."""
        try:
            self.queue.put(None, timeout=_FLUSH_SECONDS)
        except queue.Full:
            return
        self._thread.join(_FLUSH_SECONDS)

    def _run(self) -> None:
        while (item := self.queue.get()) is not None:
            descriptor, line = item
            try:
                os.write(descriptor, line)
            except OSError:
                # A full or failing disk costs log lines, never a connection.
                continue


class _QueueHandler(logging.Handler):
    def __init__(
        self, descriptor: int, writer: LogWriter, *, block: bool, on_drop: Callable[[], None]
    ) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._queue = writer.queue
        self._block = block
        self._on_drop = on_drop

    def emit(self, record: logging.LogRecord) -> None:
        item = (self._descriptor, to_line(self.format(record)))
        try:
            self._queue.put(item, block=self._block)
        except queue.Full:
            self._on_drop()


def set_up(options: LoggingOptions, worker: str, on_drop: Callable[[], None]) -> LogWriter:
    """Install handlers for all loggers of the section; ``on_drop`` counts each lost line.

    Raises:
        StartError: A log file cannot be opened.
    """
    size = max(logger.message_queue_size for logger in options.loggers.values())
    writer = LogWriter(size)
    for name, logger_options in options.loggers.items():
        logger = logging.getLogger() if name == "default" else logging.getLogger(name)
        logger.handlers.clear()
        logger.setLevel(LEVELS[logger_options.level])
        logger.propagate = False
        descriptor = _open(logger_options)
        if descriptor is None:
            logger.addHandler(logging.NullHandler())
            continue
        block = logger_options.overflow_behavior == "block"
        handler = _QueueHandler(descriptor, writer, block=block, on_drop=on_drop)
        handler.setFormatter(FORMATTERS[logger_options.format](worker))
        logger.addHandler(handler)
    # What libraries say of each of their steps says nothing about the service; raised by name only.
    logging.getLogger("asyncio").setLevel(logging.INFO)
    logging.getLogger("mpchat.websocket.control").setLevel(logging.WARNING)
    return writer


def _open(options: LoggerOptions) -> int | None:
    path = options.file_path
    if path == "@null":
        return None
    if path in _STANDARD:
        return _STANDARD[path]
    try:
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        text = f"cannot write the log {path}: {describe_os_error(error)}"
        raise StartError(text, ExitCode.CONFIG) from error
