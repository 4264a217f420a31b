"""Loggers as the section ``logging`` says."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mpchat.errors import ExitCode, StartError
from mpchat.loglines.file import LogFile
from mpchat.loglines.line import FORMATS
from mpchat.logs.handlers import QueueHandler
from mpchat.logs.levels import LEVELS
from mpchat.logs.options import LoggingOptions
from mpchat.logs.records import Origin
from mpchat.logs.setup import set_up_direct, set_up_worker
from mpchat.logs.writer import LineQueue, LogWriter
from mpchat.testsuite.service import wait_until

NAMES = ("", "asyncio", "mpchat.websocket.control", "tests.named", "tests.nowhere")


@pytest.fixture(autouse=True)
def loggers_as_before() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in NAMES]
    before = [(logger.handlers[:], logger.level, logger.propagate) for logger in loggers]
    yield
    for logger, (handlers, level, propagate) in zip(loggers, before, strict=True):
        for handler in logger.handlers:
            if handler not in handlers:
                handler.close()
        logger.handlers[:] = handlers
        logger.setLevel(level)
        logger.propagate = propagate


def options(**loggers: dict[str, Any]) -> LoggingOptions:
    named = {name.replace("__", "."): logger for name, logger in loggers.items()}
    return LoggingOptions.model_validate({"loggers": named})


def test_each_logger_has_its_file_level_and_format(tmp_path: Path) -> None:
    logs = set_up_worker(
        options(
            default={"file_path": str(tmp_path / "log"), "format": "json"},
            tests__named={"file_path": str(tmp_path / "own"), "format": "raw", "level": "trace"},
            tests__nowhere={"file_path": "@null"},
        ),
        Origin("main/0", 1),
    )
    logging.getLogger("any").info("seen")
    logging.getLogger("any").debug("not seen")
    logging.getLogger("tests.named.child").log(5, "its own")
    logging.getLogger("tests.nowhere").critical("not seen")
    logs.origin.generation = 2
    logging.getLogger("any").warning("later")
    logs.writer.stop()
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [(line["text"], line["generation"]) for line in lines] == [("seen", 1), ("later", 2)]
    assert {line["worker"] for line in lines} == {"main/0"}
    assert (tmp_path / "own").read_text() == "its own\n"


def test_what_libraries_say_of_each_step_is_heard_by_name_only(tmp_path: Path) -> None:
    default = {"file_path": str(tmp_path / "log"), "level": "trace"}
    set_up_worker(options(default=default), Origin("w")).writer.stop()
    assert not logging.getLogger("asyncio").isEnabledFor(logging.DEBUG)
    assert not logging.getLogger("mpchat.websocket.control").isEnabledFor(logging.INFO)
    set_up_worker(options(default=default, asyncio=default), Origin("w")).writer.stop()
    assert logging.getLogger("asyncio").isEnabledFor(logging.DEBUG)


def test_a_file_that_cannot_be_opened_is_an_error_at_the_start_only(tmp_path: Path) -> None:
    path = tmp_path / "none" / "log"
    section = options(default={"file_path": str(path), "format": "raw"})
    with pytest.raises(StartError) as caught:
        set_up_direct(section, Origin("template")).open()
    assert str(caught.value) == f"cannot write the log {path}: No such file or directory"
    assert caught.value.exit_code == ExitCode.CONFIG
    logs = set_up_worker(section, Origin("main/0"))
    logging.getLogger("any").warning("lost")
    wait_until(lambda: logs.writer.lost == 1, "one lost line")
    path.parent.mkdir()
    told = "1 log line was lost: No such file or directory\n"
    wait_until(lambda: path.exists() and path.read_text() == told, "line about it")
    logs.writer.stop()


def test_a_process_of_one_thread_writes_at_once_and_its_files_end_with_it(tmp_path: Path) -> None:
    path = tmp_path / "log"
    section = options(default={"file_path": str(path), "format": "raw"})
    logs = set_up_direct(section, Origin("template"))
    logging.getLogger("any").info("one")
    path.rename(tmp_path / "log.1")
    assert logs.reopen() == []
    logging.getLogger("any").info("two")
    assert (tmp_path / "log.1").read_text() == "one\n"
    assert path.read_text() == "two\n"
    # A process that was forked sets up its own, and holds on to none of its parent's.
    worker = set_up_worker(section, Origin("main/0"))
    logging.getLogger("any").info("three")
    worker.writer.stop()
    held = [Path(f"/proc/self/fd/{number}").resolve() for number in os.listdir("/proc/self/fd")]
    assert held.count(path) == 1


def test_a_file_that_cannot_be_begun_anew_is_named_in_the_old_one(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    path = tmp_path / "folder" / "log"
    logs = set_up_direct(options(default={"file_path": str(path)}), Origin("template"))
    logs.open()
    path.rename(tmp_path / "kept")
    (tmp_path / "folder").rmdir()
    (trouble,) = logs.reopen()
    assert trouble.startswith(f"cannot reopen the log {path}: No such file")
    assert f"cannot reopen the log {path}: No such file" in (tmp_path / "kept").read_text()


class Spy(LogWriter):
    """Notes which lines were to be written at once."""

    def __init__(self) -> None:
        self.urgent: list[bool] = []
        super().__init__([])

    def put(self, queue: LineQueue, line: bytes, *, urgent: bool) -> None:
        self.urgent.append(urgent)
        super().put(queue, line, urgent=urgent)


@pytest.mark.parametrize(
    ("flush_level", "urgent"),
    [
        ("trace", [True, True, True, True]),
        ("warning", [False, False, True, True]),
        ("critical", [False, False, False, True]),
        ("none", [False, False, False, False]),
    ],
)
def test_lines_from_the_flush_level_on_are_written_at_once(
    flush_level: str, urgent: list[bool]
) -> None:
    queue = LineQueue(LogFile("@null"), 10, lambda level, text: b"", block=False)
    spy = Spy()
    handler = QueueHandler(queue, spy, Origin("w"), FORMATS["raw"], LEVELS[flush_level])
    for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.CRITICAL):
        handler.handle(logging.LogRecord("any", level, "", 0, "text", None, None))
    spy.stop()
    assert spy.urgent == urgent
