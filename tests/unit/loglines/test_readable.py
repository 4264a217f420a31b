"""The format for people: what is on a line, and that nobody can forge one."""

from __future__ import annotations

import os
import pty
import re
import sys
import tty
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpchat.loglines.line import CUT, FORMATS, LINE_BYTES, Encode, Fields, to_line
from mpchat.loglines.readable import coloured, encoder, plain

FIELDS: Fields = {
    "timestamp": "2026-11-24T12:34:56.789123",
    "level": "INFO",
    "module": "mpchat.handlers.handler-chat",
    "pid": 7,
    "worker": "main-task-processor/2",
    "connection": "45b5-1",
    "generation": 1,
}
HEAD = r"12:34:56\.789 INFO 2 handler-chat 45b5-1 "
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def test_a_line_has_what_a_reader_needs() -> None:
    line = to_line(plain, FIELDS, "GET /chat 101")
    assert line == b"12:34:56.789 INFO 2 handler-chat 45b5-1 GET /chat 101\n"


@pytest.mark.parametrize(
    ("logger", "worker", "shown"),
    [
        ("mpchat.server", "main/0", "0 server"),
        ("mpchat.components.clock", "main/0", "0 clock"),
        ("mpchat.supervisor", "supervisor", "supervisor"),
        ("rooms.bus", "main/11", "11 rooms.bus"),
    ],
)
def test_a_logger_is_named_as_its_author_knows_it(logger: str, worker: str, shown: str) -> None:
    fields = {**FIELDS, "module": logger, "worker": worker}
    del fields["connection"]
    assert to_line(plain, fields, "a") == f"12:34:56.789 INFO {shown} a\n".encode()


def test_a_traceback_has_lines_of_its_own() -> None:
    traceback = 'Traceback:\n  File "chat.py", line 1\n    re.match("\\d", x)\nKeyError: 1'
    assert to_line(plain, FIELDS, "the handler failed", traceback).decode().splitlines() == [
        "12:34:56.789 INFO 2 handler-chat 45b5-1 the handler failed",
        "  | Traceback:",
        '  |   File "chat.py", line 1',
        '  |     re.match("\\d", x)',
        "  | KeyError: 1",
    ]


HOSTILE = st.text(
    st.sampled_from("\r\n\x0b\x0c\x1c\x85\u2028\u202e\x1b\x9b\0\t \\|é12:34.INFO"), max_size=60
) | st.text(max_size=20).map(lambda part: part * 300)


@pytest.mark.parametrize("encode", [plain, coloured])
@given(text=HOSTILE, traceback=HOSTILE, connection=st.text(max_size=9))
def test_nobody_forges_a_line(encode: Encode, text: str, traceback: str, connection: str) -> None:
    line = to_line(encode, {**FIELDS, "connection": connection}, text, traceback)
    assert len(line) <= LINE_BYTES
    shown = line.decode()
    assert shown.endswith("\n")
    # Our colours are the only control characters beside the ends of lines.
    first, *more = COLOUR.sub("", shown)[:-1].split("\n")
    assert re.match(r"12:34:56\.789 INFO 2 handler-chat ", first)
    assert all(found.startswith("  | ") for found in more)
    rest = "".join((first, *more))
    assert all(unicodedata.category(found) != "Cc" for found in rest)
    assert not set(rest) & set("\u2028\u2029\u202e")
    assert len(more) == (traceback.count("\n") + 1 if traceback else 0) or CUT in shown


def test_a_client_cannot_colour_a_line() -> None:
    line = to_line(coloured, FIELDS, "\x1b[31m", "\x1b[0m")
    assert line.count(b"\x1b") == 3 * 2
    assert b"\\u001b[31m" in line


def test_colours_are_left_out_where_nobody_sees_them() -> None:
    encoded = to_line(coloured, {**FIELDS, "level": "ERROR"}, "a", "b\nc")
    assert b"\x1b[31mERROR\x1b[0m" in encoded
    assert (
        COLOUR.sub("", encoded.decode())
        == to_line(plain, {**FIELDS, "level": "ERROR"}, "a", "b\nc").decode()
    )


@contextmanager
def stderr_on_a_terminal() -> Iterator[None]:
    master, slave = pty.openpty()
    tty.setraw(slave)
    sys.stderr.flush()
    kept = os.dup(2)
    os.dup2(slave, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        for descriptor in (kept, master, slave):
            os.close(descriptor)


def test_a_terminal_has_colours_unless_somebody_minds() -> None:
    with stderr_on_a_terminal():
        found = [
            encoder("text", "@stderr", {}),
            encoder("text", "@stderr", {"NO_COLOR": ""}),
            encoder("text", "@stderr", {"NO_COLOR": "1"}),
            encoder("text", "service.log", {}),
            encoder("tskv", "@stderr", {}),
        ]
    assert found == [coloured, coloured, plain, plain, FORMATS["tskv"]]
    assert encoder("text", "@null", {}) is plain
