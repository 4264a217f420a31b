"""The cache file: whole, whatever happens to its writer."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpchat.config_service import cache_file
from tests.unit.config_service.test_answer import NAMES, VALUES


@settings(max_examples=20)  # Each waits for the disk twice.
@given(values=st.dictionaries(NAMES, VALUES))
def test_what_is_written_is_one_flat_object(
    values: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "cache.json"
    cache_file.write(str(path), values)
    assert json.loads(path.read_text()) == values


def test_folders_are_made_and_everybody_may_read(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "cache.json"
    before = os.umask(0o077)
    try:
        cache_file.write(str(path), {"A": 1})
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert os.listdir(path.parent) == ["cache.json"]


def test_an_older_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "cache.json"
    cache_file.write(str(path), {"A": 1, "B": 2})
    cache_file.write(str(path), {"A": 3})
    assert json.loads(path.read_text()) == {"A": 3}


CALLS = ("open", "fchmod", "fsync", "replace")


@pytest.mark.parametrize("name", CALLS)
def test_whatever_the_system_refuses_the_file_is_whole(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "cache.json"
    cache_file.write(str(path), {"A": "old"})

    def refuse(*_args: object, **_kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, name, refuse)
    with pytest.raises(OSError, match="No space left"):
        cache_file.write(str(path), {"A": "new"})
    monkeypatch.undo()
    assert json.loads(path.read_text()) == {"A": "old"}
    assert os.listdir(tmp_path) == ["cache.json"]


def test_what_it_could_not_be_renamed_to_is_said(tmp_path: Path) -> None:
    folder = tmp_path / "cache.json"
    folder.mkdir()
    with pytest.raises(OSError, match="directory"):
        cache_file.write(str(folder), {})
    assert os.listdir(tmp_path) == ["cache.json"]


def test_a_link_in_its_way_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / f".cache.json.{os.getpid()}").symlink_to(victim)
    with pytest.raises(OSError, match="symbolic links"):
        cache_file.write(str(tmp_path / "cache.json"), {})
    assert victim.read_text() == "mine"


class Killed(BaseException):
    """The process ends here: nobody cleans up."""


def test_a_kill_at_any_moment_leaves_the_old_file_or_the_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "cache.json"
    seen: list[tuple[str, str]] = []

    def write_and_die_at(number: int) -> str:
        """Return the system call before which the process ended."""
        calls: list[str] = []

        def dying(name: str) -> Callable[..., Any]:
            real = getattr(os, name)

            def call(*args: Any, **kwargs: Any) -> Any:
                calls.append(name)
                if len(calls) > number:
                    raise Killed
                return real(*args, **kwargs)

            return call

        with monkeypatch.context() as patched:
            for name in CALLS:
                patched.setattr(os, name, dying(name))
            try:
                cache_file.write(str(path), {"A": "new"})
            except Killed:
                return calls[-1]
        return ""

    while not seen or seen[-1][0]:
        cache_file.write(str(path), {"A": "old"})
        died_at = write_and_die_at(len(seen))
        seen.append((died_at, json.loads(path.read_text())["A"]))
    assert seen == [
        ("open", "old"),
        ("fchmod", "old"),
        ("fsync", "old"),
        ("replace", "old"),
        # Of the folder, whose disk does not know the new name yet
        ("open", "new"),
        ("fsync", "new"),
        ("", "new"),
    ]
