"""From options to working loggers, in each process after its fork.

Rules. In a worker only our log thread waits for a disk or a pipe; threads do not survive a fork, so
loggers are set up after it. Processes of one thread (template, monitor, broker) write directly, and never
wait. A file that cannot be opened is a config mistake when the service starts, and a failing disk later.
Libraries log each of their steps only if the config names their loggers.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from mpchat.errors import ExitCode, StartError, describe_os_error
from mpchat.loglines.file import DirectLog, LogFile
from mpchat.loglines.readable import encoder
from mpchat.logs.handlers import DirectHandler, QueueHandler
from mpchat.logs.levels import LEVELS, Levels, find_logger
from mpchat.logs.options import LoggerOptions, LoggingOptions
from mpchat.logs.records import Origin, line_of, own_record
from mpchat.logs.writer import LineQueue, LogWriter

_QUIET = {"asyncio": logging.INFO, "mpchat.websocket.control": logging.WARNING}


@dataclass
class WorkerLogs:
    """The logging of a worker: its thread, the origin in its lines, and the levels of its loggers."""

    writer: LogWriter
    origin: Origin
    levels: Levels = field(default_factory=Levels)

    def reopen(self, done: Callable[[list[str]], None]) -> None:
        """Open the files that are now at the paths of all loggers; see LogWriter.reopen."""
        self.writer.reopen(done)


@dataclass
class DirectLogs:
    """The logging of a process of one thread."""

    handlers: list[DirectHandler]
    levels: Levels = field(default_factory=Levels)

    def open(self) -> None:
        """Open all files now, so that a config with an unusable file fails at once.

        Raises:
            StartError: A file cannot be opened; the text names it.
        """
        for handler in self.handlers:
            try:
                handler.file.open()
            except OSError as error:
                text = f"cannot write the log {handler.file.path}: {describe_os_error(error)}"
                raise StartError(text, ExitCode.CONFIG) from error

    def reopen(self) -> list[str]:
        """Open the files that are now at the paths of all loggers; return why that failed for some."""
        found = [handler.reopen() for handler in self.handlers]
        return [trouble for trouble in found if trouble is not None]


def set_up_worker(options: LoggingOptions, origin: Origin) -> WorkerLogs:
    """Install handlers for all loggers of the section, and start the thread."""
    queues = {name: _queue(logger, origin) for name, logger in options.loggers.items()}
    writer = LogWriter(list(queues.values()))

    def handler(name: str, logger: LoggerOptions) -> logging.Handler:
        encode, flush = encoder(logger.format, logger.file_path), LEVELS[logger.flush_level]
        return QueueHandler(queues[name], writer, origin, encode, flush)

    _install(options, handler)
    # Warnings, such as about a coroutine that was never awaited, belong in the log, not on bare stderr.
    logging.captureWarnings(True)
    return WorkerLogs(writer, origin)


def set_up_direct(options: LoggingOptions, origin: Origin) -> DirectLogs:
    """Install handlers for all loggers of the section; they write at once or not at all."""
    handlers = []

    def handler(_name: str, logger: LoggerOptions) -> logging.Handler:
        direct = DirectHandler(DirectLog(logger.file_path, logger.format), origin)
        handlers.append(direct)
        return direct

    _install(options, handler)
    return DirectLogs(handlers)


def _install(
    options: LoggingOptions, handler: Callable[[str, LoggerOptions], logging.Handler]
) -> None:
    for name, logger_options in options.loggers.items():
        logger = find_logger(name)
        for former in logger.handlers:
            if isinstance(former, DirectHandler):
                # It belongs to the process that forked us, and so does its file.
                former.close()
        logger.handlers.clear()
        logger.setLevel(LEVELS[logger_options.level])
        logger.propagate = False
        if logger_options.file_path == "@null":
            logger.addHandler(logging.NullHandler())
        else:
            logger.addHandler(handler(name, logger_options))
    for name, level in _QUIET.items():
        if name not in options.loggers:
            logging.getLogger(name).setLevel(level)


def _queue(options: LoggerOptions, origin: Origin) -> LineQueue:
    encode = encoder(options.format, options.file_path)
    return LineQueue(
        LogFile(options.file_path),
        options.message_queue_size,
        lambda level, text: line_of(own_record(level, text), origin, encode),
        block=options.overflow_behavior == "block",
    )
