"""Formats of lines, and what happens when nobody takes them."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpchat.errors import ExitCode, StartError
from mpchat.ipc.logline import LINE_BYTES, to_line, tskv
from mpchat.logs.formats import FORMATTERS
from mpchat.logs.options import LoggingOptions
from mpchat.logs.setup import set_up


@pytest.fixture(autouse=True)
def loggers_as_before() -> Iterator[None]:
    root = logging.getLogger()
    before = (root.handlers[:], root.level, root.propagate)
    yield
    root.handlers[:], root.propagate = before[0], before[2]
    root.setLevel(before[1])
    logging.getLogger("asyncio").setLevel(logging.NOTSET)


def options(path: Path | str, **more: object) -> LoggingOptions:
    return LoggingOptions.model_validate({"loggers": {"default": {"file_path": str(path), **more}}})


@given(st.dictionaries(st.text(min_size=1), st.text(), max_size=4))
def test_a_tskv_line_is_one_line_and_can_be_taken_apart(fields: dict[str, str]) -> None:
    line = tskv(fields)
    assert "\n" not in line
    parts = line.split("\t")
    assert parts[0] == "tskv"
    assert len(parts) == len(fields) + (1 if fields else 2)


@given(st.text(max_size=3 * LINE_BYTES))
def test_a_line_fits_into_one_write(text: str) -> None:
    line = to_line(text)
    assert len(line) <= LINE_BYTES
    assert line.endswith(b"\n")
    line.decode()


@pytest.mark.parametrize(
    ("name", "expected"),
    [("tskv", "text=a\\tb"), ("ltsv", "text:a\\tb"), ("json", '"text": "a\\tb"'), ("raw", "a\\tb")],
)
def test_every_format_keeps_the_text_on_one_line(name: str, expected: str) -> None:
    record = logging.makeLogRecord(
        {"msg": "a\tb", "name": "my.module", "levelname": "INFO", "levelno": 20}
    )
    record.connection = "c-1"
    line = FORMATTERS[name]("main/0").format(record)
    assert expected in line
    if name == "json":
        assert json.loads(line)["connection"] == "c-1"
    if name == "tskv":
        assert "\tmodule=my.module\t" in line
        assert "\tworker=main/0\tconnection=c-1\t" in line


def test_lines_are_written_and_levels_obeyed(tmp_path: Path) -> None:
    writer = set_up(options(tmp_path / "log", format="raw", level="info"), "w", lambda: None)
    logging.getLogger("any").info("seen")
    logging.getLogger("any").debug("not seen")
    writer.stop()
    assert (tmp_path / "log").read_text() == "seen\n"


def test_a_full_queue_drops_and_counts(tmp_path: Path) -> None:
    reader, writing = os.pipe()
    os.set_blocking(writing, True)
    dropped: list[int] = []
    writer = set_up(
        options(f"/dev/fd/{writing}", format="raw", message_queue_size=10),
        "w",
        lambda: dropped.append(1),
    )
    sent = 0
    deadline = time.monotonic() + 30
    while not dropped and time.monotonic() < deadline:
        logging.getLogger("any").info("x" * 1000)
        sent += 1
    assert dropped
    os.set_blocking(reader, False)
    taken = 0
    while taken < sent - len(dropped) and time.monotonic() < deadline:
        try:
            taken += os.read(reader, 1 << 20).count(b"\n")
        except BlockingIOError:
            time.sleep(0.001)
    assert taken == sent - len(dropped)
    writer.stop()
    os.close(reader)
    os.close(writing)


def test_a_file_that_cannot_be_opened_is_a_start_error(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="cannot write the log") as caught:
        set_up(options(tmp_path / "none" / "log"), "w", lambda: None)
    assert caught.value.exit_code == ExitCode.CONFIG
