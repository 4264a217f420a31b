"""Queues and the thread: who waits, who is dropped, and what the log says of it."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from mpchat.loglines.file import LogFile
from mpchat.logs.writer import LineQueue, LogWriter
from mpchat.testsuite.service import wait_until

SIZE = 10
Start = Callable[..., LogWriter]


def describe(level: int, text: str) -> bytes:
    return f"{level} {text}\n".encode()


def queue(path: Path, size: int = SIZE, *, block: bool = False) -> LineQueue:
    file = LogFile(str(path))
    file.open()
    return LineQueue(file, size, describe, block=block)


@pytest.fixture
def start() -> Iterator[Start]:
    writers = []

    def begin(*queues: LineQueue) -> LogWriter:
        writers.append(LogWriter(queues))
        return writers[-1]

    yield begin
    for writer in writers:
        writer.stop()


class Pipe:
    """A pipe with a name, and what has been read from it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        os.mkfifo(path)
        self._reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self._content = b""

    def lines(self) -> list[bytes]:
        with suppress(BlockingIOError):
            self._content += os.read(self._reader, 1 << 16)
        return self._content.splitlines()

    def close(self) -> None:
        os.close(self._reader)


@pytest.fixture
def pipe(tmp_path: Path) -> Iterator[Pipe]:
    made = Pipe(tmp_path / "pipe")
    yield made
    made.close()


def line(number: int) -> bytes:
    return b"%d " % number + b"x" * 1000 + b"\n"


def test_lines_arrive_in_order_and_none_is_lost(tmp_path: Path, start: Start) -> None:
    lines = [line(number) for number in range(SIZE)]
    log = queue(tmp_path / "log")
    writer = start(log)
    for item in lines:
        writer.put(log, item, urgent=False)
    writer.stop()
    assert (tmp_path / "log").read_bytes() == b"".join(lines)
    assert writer.lost == 0


def told(lines: list[bytes]) -> int:
    """Return how many losses a log speaks of."""
    found = [
        re.fullmatch(rb"30 (\d+) log lines? w\w+ lost: the queue was full", item) for item in lines
    ]
    return sum(int(match[1]) for match in found if match)


def test_a_full_queue_costs_lines_that_are_counted_and_told(pipe: Pipe, start: Start) -> None:
    log = queue(pipe.path)
    writer = start(log)
    sent = 0
    # Nobody reads: first the pipe fills, then the queue.
    while writer.lost < 300:
        writer.put(log, line(sent), urgent=False)
        sent += 1
    wait_until(lambda: told(pipe.lines()) == 300, "line about all losses")

    def numbers() -> list[int]:
        return [int(item.split()[0]) for item in pipe.lines() if item.endswith(b"x")]

    wait_until(lambda: len(numbers()) == sent - 300, "all other lines")
    assert numbers() == sorted(numbers())
    # And nothing more is said of it.
    writer.put(log, line(sent), urgent=True)
    wait_until(lambda: numbers()[-1] == sent, "the line after it")
    assert told(pipe.lines()) == writer.lost == 300


def test_a_queue_that_blocks_waits_for_room(pipe: Pipe, start: Start) -> None:
    log = queue(pipe.path, 1, block=True)
    writer = start(log)
    count = 1000

    def produce() -> None:
        for number in range(count):
            writer.put(log, line(number), urgent=False)

    thread = threading.Thread(target=produce)
    thread.start()
    wait_until(lambda: len(pipe.lines()) == count, "line for each")
    thread.join()
    assert [int(item.split()[0]) for item in pipe.lines()] == list(range(count))
    assert writer.lost == 0


def test_a_log_that_takes_nothing_holds_no_other_up(
    pipe: Pipe, tmp_path: Path, start: Start
) -> None:
    stuck, healthy = queue(pipe.path), queue(tmp_path / "log")
    writer = start(stuck, healthy)
    while not stuck.lost:
        writer.put(stuck, line(0), urgent=False)
    writer.put(healthy, b"through\n", urgent=False)
    wait_until(lambda: (tmp_path / "log").read_bytes() == b"through\n", "line of the other log")


def test_a_failing_disk_is_counted_and_told_once_it_works(tmp_path: Path, start: Start) -> None:
    path = tmp_path / "log"
    path.symlink_to("/dev/full")
    log = queue(path)
    writer = start(log)
    for number in range(3):
        writer.put(log, line(number), urgent=True)
    wait_until(lambda: writer.lost == 3, "three lost lines")
    path.unlink()
    trouble: list[list[str]] = []
    writer.reopen(trouble.append)
    # Nothing more is logged: the losses are told all the same.
    told = b"30 3 log lines were lost: No space left on device\n"
    wait_until(lambda: path.exists() and path.read_bytes() == told, "line about the losses")
    assert trouble == [[]]


def test_a_file_that_cannot_be_begun_anew_is_named_in_the_old_one(
    tmp_path: Path, start: Start
) -> None:
    (tmp_path / "folder").mkdir()
    path = tmp_path / "folder" / "log"
    writer = start(queue(path))
    path.rename(tmp_path / "kept")
    (tmp_path / "folder").rmdir()
    trouble: list[list[str]] = []
    writer.reopen(trouble.append)
    text = f"cannot reopen the log {path}: No such file or directory; still writing to the old file"
    wait_until(lambda: trouble == [[text]], "word about the file")
    assert (tmp_path / "kept").read_text() == f"40 {text}\n"


def test_a_queue_is_crowded_at_each_half_or_at_each_thousand(tmp_path: Path) -> None:
    small, large = queue(tmp_path / "log", 4), queue(tmp_path / "log", 65536)
    found = [(small.put(line(number)), small.is_crowded) for number in range(5)]
    assert found == [(True, False), (True, True), (True, False), (True, True), (False, True)]
    assert small.lost == 1
    crowded = [large.put(b"\n") and large.is_crowded for _ in range(4096)]
    assert crowded.index(True) == 1023
    assert sum(crowded) == 4
