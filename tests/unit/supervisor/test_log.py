"""The supervisor's own lines."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from mpchat.errors import ExitCode, StartError
from mpchat.supervisor.log import Log


def test_lines_are_as_the_plan_says(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    log = Log()
    log.generation = lambda: 4
    log.warning("before the plan")
    assert capfd.readouterr().err == "before the plan\n"
    log.follow(str(tmp_path / "log"), "json", 30)
    log.info("too little")
    log.error("as planned")
    log.level = 10
    log.debug("after an order of the operator's")
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [line["text"] for line in lines] == ["as planned", "after an order of the operator's"]
    del lines[0]["timestamp"]
    assert lines[0] == {
        "level": "ERROR",
        "module": "mpchat.supervisor",
        "pid": os.getpid(),
        "worker": "supervisor",
        "generation": 4,
        "text": "as planned",
    }


def test_nothing_of_a_traceback_is_cut_out(tmp_path: Path) -> None:
    frames = [f'  File "service.py", line {number}, in f' for number in range(1000)]
    log = Log()
    log.follow(str(tmp_path / "log"), "raw", 20)
    log.error("\n".join(["worker main/0 pid 7: exit status 1", *frames, "KeyError: 'room'"]))
    lines = (tmp_path / "log").read_text().splitlines()
    assert lines == ["worker main/0 pid 7: exit status 1", *frames, "KeyError: 'room'"]


def test_for_people_a_traceback_stands_below_its_line(tmp_path: Path) -> None:
    frames = [f'  File "service.py", line {number}, in f' for number in range(1000)]
    log = Log()
    log.follow(str(tmp_path / "log"), "text", 20)
    log.info("stopping")
    log.info("")
    log.error("\n".join(["worker main/0 pid 7: exit status 1", *frames, "KeyError: 'room'"]))
    lines = (tmp_path / "log").read_text().splitlines()
    heads = [line.split(" ", 1)[1] for line in lines if not line.startswith("  | ")]
    assert heads[:2] == ["INFO supervisor stopping", "INFO supervisor "]
    assert heads[2] == "ERROR supervisor worker main/0 pid 7: exit status 1"
    assert set(heads[3:]) == {"ERROR supervisor (continued)"}
    shown = [line.removeprefix("  | ") for line in lines if line.startswith("  | ")]
    assert shown == [*frames, "KeyError: 'room'"]


def test_a_moved_file_is_begun_anew_and_a_missing_folder_told(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    path = tmp_path / "folder" / "log"
    log = Log()
    log.follow(str(path), "raw", 20)
    log.info("one")
    path.rename(tmp_path / "first")
    assert log.reopen() == ""
    log.info("two")
    path.rename(tmp_path / "second")
    (tmp_path / "folder").rmdir()
    assert log.reopen().startswith(f"cannot reopen the log {path}: No such file")
    assert (tmp_path / "first").read_text() == "one\n"
    two, trouble = (tmp_path / "second").read_text().splitlines()
    assert two == "two"
    assert trouble.startswith(f"cannot reopen the log {path}: No such file or directory")


def test_a_file_that_cannot_be_opened_is_a_start_error(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="cannot write the log") as caught:
        Log().follow(str(tmp_path / "none" / "log"), "raw", 20)
    assert caught.value.exit_code == ExitCode.CONFIG
