"""Files of logs: appended to, begun anew, never waited for, and whole lines only."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mpchat.loglines.file import DirectLog, LogFile
from mpchat.loglines.line import LINE_BYTES

LINE = b"x" * (LINE_BYTES - 1) + b"\n"


def fill(path: str) -> int:
    """Write to a log until it takes no more, and return how many lines it took."""
    file = LogFile(path)
    file.open()
    count = 0
    while file.ready():
        file.write(LINE)
        count += 1
    file.close()
    return count


def test_a_file_is_appended_to_moved_and_truncated(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"before\n")
    file = LogFile(str(path))
    file.write(b"one\n")
    path.rename(tmp_path / "log.1")
    file.write(b"two\n")
    assert file.reopen() is None
    file.write(b"three\n")
    os.truncate(path, 0)
    file.write(b"four\n")
    file.close()
    assert (tmp_path / "log.1").read_bytes() == b"before\none\ntwo\n"
    assert path.read_bytes() == b"four\n"


def test_a_file_that_cannot_be_opened_again_goes_on(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    path = tmp_path / "folder" / "log"
    file = LogFile(str(path))
    file.open()
    path.rename(tmp_path / "kept")
    (tmp_path / "folder").rmdir()
    trouble = file.reopen()
    assert trouble is not None
    assert trouble.startswith(f"cannot reopen the log {path}: No such file or directory")
    file.write(b"still\n")
    file.close()
    assert (tmp_path / "kept").read_bytes() == b"still\n"


def test_nowhere_takes_everything() -> None:
    file = LogFile("@null")
    assert file.ready()
    file.write(LINE)
    assert file.reopen() is None
    file.close()


def test_a_pipe_without_room_for_a_line_is_not_ready(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with pytest.raises(OSError, match="No such device"):
        LogFile(str(path)).open()
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    assert fill(str(path)) >= 1
    # It is ready again as soon as a whole line fits, not before.
    file = LogFile(str(path))
    file.open()
    os.read(reader, LINE_BYTES - 1)
    assert not file.ready()
    with pytest.raises(BlockingIOError):
        file.write(LINE)
    os.read(reader, 1)
    assert file.ready()
    file.write(LINE)
    file.close()
    os.close(reader)


SHORT = """
import resource, sys
from mpchat.loglines.file import LogFile
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
file = LogFile(sys.argv[1])
for number in range(3):
    try:
        file.write(b"%d" % number * 300 + b"\\n")
    except OSError as error:
        print(error.strerror)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
file.write(b"again\\n")
"""


def test_what_a_full_disk_takes_of_a_line_is_taken_back(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"before" * 50 + b"\n")
    command = [sys.executable, "-c", SHORT, str(path)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout == "No space left on device\n"
    lines = path.read_bytes().splitlines()
    assert lines == [b"before" * 50, b"0" * 300, b"1" * 300, b"again"]


INHERITED = """
import fcntl, os
from mpchat.loglines.file import DirectLog
before = fcntl.fcntl(2, fcntl.F_GETFL)
log = DirectLog("@stderr", "raw")
for number in range(1000):
    log.write({}, "x" * 4000)
assert fcntl.fcntl(2, fcntl.F_GETFL) == before
print("done", flush=True)
input()
log.write({}, "the last")
"""


def test_an_inherited_pipe_that_nobody_reads_costs_lines_and_no_time() -> None:
    command = [sys.executable, "-c", INHERITED]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stderr is not None
        # It has come to its end though nothing was read of its stderr.
        assert process.stdout.readline() == "done\n"
        written = [process.stderr.readline() for _ in range(10)]
        process.stdin.write("\n")
        process.stdin.flush()
        rest = process.stderr.read().splitlines()
    assert set(written) == {"x" * 4000 + "\n"}
    lost = 1000 - len(written) - (len(rest) - 2)
    assert rest[-2:] == [f"{lost} log lines were lost: the log took no more", "the last"]
    assert set(rest[:-2]) == {"x" * 4000}


def test_a_full_device_is_told_when_there_is_room_again(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.symlink_to("/dev/full")
    log = DirectLog(str(path), "tskv")
    for _ in range(3):
        log.write({"level": "INFO"}, "lost")
    path.unlink()
    assert log.file.reopen() is None
    log.write({"level": "INFO"}, "kept")
    log.file.close()
    assert path.read_text().splitlines() == [
        "tskv\tlevel=WARNING\ttext=3 log lines were lost: No space left on device",
        "tskv\tlevel=INFO\ttext=kept",
    ]
