"""What a record becomes: all its fields, and a line whatever the author logs."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys

from mpchat.loglines.line import FORMATS
from mpchat.logs.connection import CONNECTION
from mpchat.logs.records import Origin, line_of, parts_of

ORIGIN = Origin("main/0", 3)


def record(message: object, *args: object, level: int = logging.INFO) -> logging.LogRecord:
    return logging.LogRecord("my.module", level, __file__, 7, message, args, None)


def fields(made: logging.LogRecord) -> dict[str, object]:
    found: dict[str, object] = json.loads(line_of(made, ORIGIN, FORMATS["json"]))
    return found


def test_every_field_is_there_in_userver_s_order() -> None:
    made = record("a %s", "b")
    made.connection = "c-1"
    found = fields(made)
    assert str(found.pop("timestamp")).startswith("20")
    assert list(found.items()) == [
        ("level", "INFO"),
        ("module", "my.module"),
        ("pid", os.getpid()),
        ("worker", "main/0"),
        ("connection", "c-1"),
        ("generation", 3),
        ("text", "a b"),
    ]


def test_what_is_not_there_is_left_out() -> None:
    line = line_of(record("a"), Origin("template"), FORMATS["tskv"])
    assert b"connection" not in line
    assert b"generation" not in line
    assert fields(record("a", level=5))["level"] == "TRACE"


async def test_a_task_and_its_threads_know_their_connection() -> None:
    async def serve(connection: str) -> list[object]:
        CONNECTION.set(connection)
        await asyncio.sleep(0)
        inherited = asyncio.create_task(asyncio.to_thread(fields, record("in a thread")))
        return [fields(record("here"))["connection"], (await inherited)["connection"]]

    found = await asyncio.gather(
        asyncio.create_task(serve("c-1")), asyncio.create_task(serve("c-2"))
    )
    assert [*found] == [["c-1", "c-1"], ["c-2", "c-2"]]
    assert "connection" not in fields(record("outside"))


def test_the_traceback_and_the_stack_are_part_of_the_text() -> None:
    made = record("the handler failed")
    try:
        dict[str, int]()["no such room"]
    except KeyError:
        made.exc_info = sys.exc_info()
    made.stack_info = "Stack (most recent call last): …"
    assert parts_of(made) == ("the handler failed", str(fields(made)["text"]).partition("\n")[2])
    text = str(fields(made)["text"])
    assert text.startswith("the handler failed\nTraceback (most recent call last):\n")
    assert text.endswith("KeyError: 'no such room'\nStack (most recent call last): …")


def test_a_warning_of_python_is_one_line_and_its_source() -> None:
    made = record("%s", "chat.py:3: RuntimeWarning: never awaited\n  self.fail()\n")
    made.name = "py.warnings"
    assert parts_of(made) == ("chat.py:3: RuntimeWarning: never awaited", "  self.fail()")


class Unprintable:
    def __str__(self) -> str:
        raise RuntimeError("no")


def test_a_call_that_cannot_be_formatted_is_told_with_its_place() -> None:
    place = f"the log call at {__file__}:7 cannot be formatted: "
    assert parts_of(record("%d", "x")) == (place + "TypeError", "")
    assert parts_of(record("%s", Unprintable())) == (place + "RuntimeError", "")
    assert parts_of(record(Unprintable())) == (place + "RuntimeError", "")
