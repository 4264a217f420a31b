"""Lines: whatever is logged, each is one line of one write, and can be read back."""

from __future__ import annotations

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mpchat.loglines.line import CUT, FORMATS, LINE_BYTES, timestamp, to_line
from tests.kit.lines import read_line

NAMES = ("timestamp", "level", "module", "pid", "worker", "connection", "generation")
TEXTS = st.text() | st.text(min_size=1, max_size=20).map(lambda part: part * 1000)
VALUES = st.text(max_size=30) | st.text(min_size=1, max_size=4).map(lambda part: part * 500)
ANY = st.text(st.characters(), max_size=200) | st.text(st.characters(), max_size=9).map(
    lambda part: part * 700
)


@pytest.mark.parametrize("log_format", FORMATS)
@given(text=TEXTS, values=st.tuples(*[VALUES] * len(NAMES)))
def test_any_text_is_one_line_that_is_read_back(
    log_format: str, text: str, values: tuple[str, ...]
) -> None:
    fields = dict(zip(NAMES, values, strict=True))
    line = to_line(FORMATS[log_format], fields, text)
    assert len(line) <= LINE_BYTES
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    found = read_line(log_format, line)
    assert set(found) == ({"text"} if log_format == "raw" else {*NAMES, "text"})
    for name in found.keys() - {"text"}:
        assert fields[name].startswith(found[name])
        assert len(found[name]) >= min(100, len(fields[name]))
    if found["text"] != text:
        beginning, end = found["text"].split(CUT, 1) if text.count(CUT) == 0 else (text, text)
        assert text.startswith(beginning)
        assert text.endswith(end)
        # What could stay did: another character and the line would have been too long.
        assert len(line) > LINE_BYTES - 10


CONTROLS = [
    chr(code)
    for code in (*range(0x20), *range(0x7F, 0xA0), 0x61C, 0x200E, 0x200F, *range(0x2028, 0x202F))
] + ["\u2066", "\u2069", "\ufeff"]


@pytest.mark.parametrize("log_format", FORMATS)
def test_nothing_that_a_terminal_obeys_gets_through(log_format: str) -> None:
    hostile = "".join(CONTROLS) + "\\ é 🙂"
    for value in (hostile, f"{hostile}{'x' * LINE_BYTES}"):
        line = to_line(FORMATS[log_format], {"module": value, "connection": value}, value)
        shown = line.decode()
        assert [control for control in CONTROLS if control in shown[:-1].replace("\t", "")] == []
        assert shown.splitlines() == [shown[:-1]]
        assert read_line(log_format, line)["text"].startswith(hostile)


@pytest.mark.parametrize("log_format", FORMATS)
@given(text=ANY, value=ANY)
@example(text="\ud800" * 5000, value="\udcff")
def test_lone_surrogates_are_written_as_escapes(log_format: str, text: str, value: str) -> None:
    line = to_line(FORMATS[log_format], {"module": value, "pid": 1}, text)
    assert len(line) <= LINE_BYTES
    found = read_line(log_format, line)
    expected = text.encode("utf-8", "backslashreplace").decode()
    assert found["text"] == expected or CUT in found["text"]


def test_the_beginning_and_the_end_of_a_traceback_stay() -> None:
    frames = "".join(f'  File "service.py", line {number}, in f\n' for number in range(1000))
    text = f"the handler failed\nTraceback (most recent call last):\n{frames}KeyError: 'room'"
    found = read_line("tskv", to_line(FORMATS["tskv"], {"pid": 1}, text))["text"]
    assert found.startswith("the handler failed\nTraceback (most recent call last):\n")
    assert found.endswith(", line 999, in f\nKeyError: 'room'")
    assert found.count(CUT) == 1


@pytest.mark.parametrize("log_format", FORMATS)
@given(text=TEXTS, traceback=TEXTS)
def test_a_traceback_leaves_room_for_its_text(log_format: str, text: str, traceback: str) -> None:
    line = to_line(FORMATS[log_format], {"module": "m"}, text, traceback)
    assert len(line) <= LINE_BYTES
    found = read_line(log_format, line)["text"]
    whole = f"{text}\n{traceback}" if traceback else text
    assert found == whole or CUT in found
    assert found.startswith(text[:100])
    assert found.endswith(whole[-100:])


def test_formats_are_those_of_userver() -> None:
    fields: dict[str, str | int] = {
        "timestamp": "T",
        "level": "INFO",
        "module": "a",
        "pid": 7,
        "worker": "m/0",
    }
    lines = {name: to_line(encode, fields, "x=1\ty\\") for name, encode in FORMATS.items()}
    assert lines == {
        "tskv": b"tskv\ttimestamp=T\tlevel=INFO\tmodule=a\tpid=7\tworker=m/0\ttext=x=1\\ty\\\\\n",
        "ltsv": b"timestamp:T\tlevel:INFO\tmodule:a\tpid:7\tworker:m/0\ttext:x=1\\ty\\\\\n",
        "json": b'{"timestamp": "T", "level": "INFO", "module": "a", "pid": 7, "worker": "m/0", '
        b'"text": "x=1\\ty\\\\"}\n',
        "raw": b"x=1\\ty\\\\\n",
    }


def test_timestamps_are_local_time_with_microseconds() -> None:
    seconds = 1_700_000_000.25
    expected = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(seconds)) + ".250000"
    assert timestamp(seconds) == expected
    assert timestamp(seconds + 1) != expected
