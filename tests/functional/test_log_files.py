"""Files and pipes of logs: whole lines whatever happens, and no connection that waits for one."""

from __future__ import annotations

import asyncio
import os
import re
import resource
import shutil
import signal
from contextlib import suppress
from pathlib import Path

import pytest

from mpchat.scoreboard.scoreboard import Scoreboard
from mpchat.testsuite.service import Service, wait_until
from tests.functional.conftest import Serve
from tests.kit.control import Control
from tests.kit.lines import read_line
from tests.kit.raw import HANDLERS
from tests.kit.talk import APP, LINES, WORKERS, Talk, check_lines, talkers
from tests.kit.waiting import eventually


@pytest.fixture(autouse=True)
def handlers(service_tmpdir: Path) -> None:
    shutil.copy(HANDLERS, service_tmpdir)


@pytest.mark.parametrize("log_format", ["tskv", "ltsv", "json"])
async def test_eight_processes_write_whole_lines_to_one_file(
    serve: Serve, service_tmpdir: Path, log_format: str
) -> None:
    with serve(talkers(file_path="own.log", format=log_format), *APP) as service:
        talk = Talk(service.port)
        async with talk.going_on():
            await talk.said(5000)
        assert await asyncio.to_thread(service.stop) == 0
    assert check_lines(log_format, [service_tmpdir / "own.log"]) == (talk.lines, talk.pids)
    assert len(talk.pids) == WORKERS


async def test_rotation_loses_no_line(serve: Serve, service_tmpdir: Path, control: Control) -> None:
    path = service_tmpdir / "own.log"
    with serve(talkers(file_path="own.log"), *APP) as service:
        talk = Talk(service.port)
        moved = []
        async with talk.going_on():
            for number in range(10):
                moved.append(path.rename(service_tmpdir / f"own.log.{number}"))
                if number % 2:
                    answer = await asyncio.to_thread(control.ask, "reopen")
                    # Nobody holds on to what was moved, so its disk space is free once it is removed.
                    assert held(service, moved) == []
                    assert (answer["trouble"], answer["silent"]) == ([], [])
                    assert len(answer["pids"]) == len(service.children())
                else:
                    service.send_signal(signal.SIGUSR1)
                    await eventually(path.exists, "new file")
                await talk.said(500)
        await eventually(lambda: not held(service, moved), "end of all moved files")
        assert await asyncio.to_thread(service.stop) == 0
    assert check_lines("tskv", [path, *moved]) == (talk.lines, talk.pids)
    text = "\ttext=every process opens its log files again"
    assert sum(file.read_text().count(text) for file in [path, *moved]) >= 1


def held(service: Service, files: list[Path]) -> list[str]:
    """Return which processes of the service have one of these files open."""
    found = []
    for pid, title in {**service.children(), service.pid: "supervisor"}.items():
        for number in Path(f"/proc/{pid}/fd").iterdir():
            if number.resolve() in files:
                found.append(title)
    return found


async def test_truncation_tears_no_line(serve: Serve, service_tmpdir: Path) -> None:
    path = service_tmpdir / "own.log"
    copies = []
    with serve(talkers(file_path="own.log"), *APP) as service:
        talk = Talk(service.port)
        async with talk.going_on():
            for number in range(10):
                # What logrotate's copytruncate does; lines that come in between are lost by it.
                copies.append(Path(shutil.copy(path, service_tmpdir / f"copy.{number}")))
                os.truncate(path, 0)
                await talk.said(500)
        assert await asyncio.to_thread(service.stop) == 0
    for file in [path, *copies]:
        content = file.read_bytes()
        # Written on at the new end: no hole, and each line is one.
        assert b"\0" not in content
        whole, _newline, half = content.rpartition(b"\n")
        # A copy may end in the middle of a write; what was truncated does not begin in one.
        assert not half or file != path
        for line in whole.splitlines(keepends=True)[:-1]:
            read_line("tskv", line)


async def test_a_removed_folder_costs_no_line_and_no_worker(
    serve: Serve, service_tmpdir: Path
) -> None:
    path = service_tmpdir / "logs" / "own.log"
    path.parent.mkdir()
    with serve(talkers(file_path="logs/own.log"), *APP) as service:
        talk = Talk(service.port)
        async with talk.going_on():
            await talk.said(100)
        # A worker that is killed takes along the lines that it has not written yet.
        await eventually(lambda: logged(path) == talk.logged, "all lines")
        kept = path.rename(service_tmpdir / "kept.log")
        path.parent.rmdir()
        service.send_signal(signal.SIGUSR1)
        trouble = f"cannot reopen the log {path}: No such file or directory"
        writing = WORKERS + 2
        await eventually(lambda: kept.read_text().count(trouble) == writing, "line of each process")
        for worker in ("supervisor", "template", "main-task-processor/7"):
            assert re.search(rf"\tlevel=ERROR\t.*\tworker={worker}\t.*{trouble}", kept.read_text())
        # The old file goes on, but a new worker has none: it serves all the same.
        await asyncio.to_thread(replace_a_worker, service)
        again = Talk(service.port)
        async with again.going_on():
            await again.said(LINES)
        await eventually(lambda: lost(service) > 0, "lost lines")
        path.parent.mkdir()
        service.send_signal(signal.SIGUSR1)
        await eventually(
            lambda: path.exists() and told(path.read_text(), "No such .*") == lost(service),
            "line about the losses",
        )
        assert await asyncio.to_thread(service.stop) == 0
    told_lost = told(path.read_text(), "No such .*")
    assert logged(kept) + logged(path) + told_lost == talk.logged + again.logged


def replace_a_worker(service: Service) -> None:
    """Kill one, and wait for its successor."""
    before = set(service.pids("worker"))
    os.kill(min(before), signal.SIGKILL)
    wait_until(lambda: len(set(service.pids("worker")) - before) == 1, "another worker")


def logged(file: Path) -> int:
    """Return how many lines of a file are talkers' or about their connections."""
    lines = [read_line("tskv", line) for line in file.read_bytes().splitlines(keepends=True)]
    return sum(line["module"] in {"handlers", "mpchat.handlers.handler-talker"} for line in lines)


def lost(service: Service) -> int:
    """Return the counter of lost lines of all workers, from their shared memory."""
    folder = Path(f"/proc/{service.pid}/fd")
    memory = next(file for file in folder.iterdir() if "scoreboard" in str(file.readlink()))
    board = Scoreboard(os.open(memory, os.O_RDWR))
    try:
        return board.total("log_lines_dropped", WORKERS)
    finally:
        board.close()


def told(text: str, reason: str) -> int:
    """Return how many lost lines a log of workers speaks of, for a reason."""
    pattern = rf"\tworker=main-\S+\t.*\ttext=(\d+) log lines? w\w+ lost: {reason}$"
    return sum(int(found[1]) for found in re.finditer(pattern, text, re.MULTILINE))


class Pipe:
    """A pipe in the service's folder, read only when asked."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self._reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self._content = b""

    def text(self) -> str:
        with suppress(BlockingIOError):
            while data := os.read(self._reader, 1 << 16):
                self._content += data
        return self._content.decode(errors="replace")

    def close(self) -> None:
        os.close(self._reader)


@pytest.mark.covers("LoggerOptions.message_queue_size")
async def test_a_pipe_that_nobody_reads_costs_lines_and_nothing_else(
    serve: Serve, service_tmpdir: Path
) -> None:
    pipe = Pipe(service_tmpdir / "stderr.pipe")
    to_pipe = ("sh", "-c", 'exec "$@" 2>stderr.pipe', "sh")
    default = talkers(file_path="@stderr", message_queue_size=100)
    with serve(default, *APP, wrapper=to_pipe) as service:
        stderr = Path(f"/proc/{service.pid}/fdinfo/2")
        flags = re.findall("flags:.*", stderr.read_text())
        talk = Talk(service.port)
        async with talk.going_on():
            await eventually(lambda: lost(service) > 1000, "lost lines")
            await talk.said(1000)
            assert "generation 2" in await asyncio.to_thread(service.reload)
        await eventually(
            lambda: told(pipe.text(), "the queue was full") == lost(service),
            "line about all losses",
        )
        for line in pipe.text().splitlines():
            read_line("tskv", line.encode() + b"\n")
        # Full once more, and now a worker is replaced and the service stopped.
        again = Talk(service.port)
        before = lost(service)
        async with again.going_on():
            await eventually(lambda: lost(service) > before, "lost lines")
        await asyncio.to_thread(replace_a_worker, service)
        assert re.findall("flags:.*", stderr.read_text()) == flags
        assert await asyncio.to_thread(service.stop) == 0
    pipe.close()


async def test_a_full_device_costs_lines_that_are_counted(serve: Serve) -> None:
    with serve(talkers(file_path="/dev/full"), *APP) as service:
        talk = Talk(service.port)
        async with talk.going_on():
            await talk.said(1000)
        await eventually(lambda: lost(service) >= talk.lines, "count of all lines")


FULL = ".*(File too large|No space left on device).*"


async def test_a_disk_that_is_full_for_a_while_tears_no_line(
    serve: Serve, service_tmpdir: Path
) -> None:
    path = service_tmpdir / "own.log"
    with serve(talkers(file_path="own.log"), *APP) as service:

        def limit(size: int) -> None:
            for pid in (service.pid, *service.children()):
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

        talk = Talk(service.port)
        async with talk.going_on():
            # To the system a file that must not grow is what a full disk is.
            limit(path.stat().st_size + 123_456)
            await eventually(lambda: lost(service) > 1000, "lost lines")
            limit(resource.RLIM_INFINITY)
            await talk.said(1000)
        await eventually(
            lambda: told(path.read_text(), FULL) == lost(service),
            "line about all losses",
        )
        assert await asyncio.to_thread(service.stop) == 0
    assert logged(path) + told(path.read_text(), FULL) == talk.logged


async def test_a_closed_stderr_leads_nowhere(serve: Serve) -> None:
    closed = ("sh", "-c", 'exec "$@" 2>&-', "sh")
    with serve(talkers(file_path="@stderr"), *APP, wrapper=closed) as service:
        for pid in (service.pid, *service.children()):
            assert str(Path(f"/proc/{pid}/fd/2").readlink()) == "/dev/null"
        talk = Talk(service.port)
        async with talk.going_on():
            await talk.said(100)
        assert lost(service) == 0
