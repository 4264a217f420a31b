"""The folder of the start has the name that was used for it, if that is true."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from mpchat.supervisor.folder import by_name, started_in


@pytest.fixture
def link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    release = tmp_path / "release"
    release.mkdir()
    link = tmp_path / "current"
    link.symlink_to(release)
    monkeypatch.chdir(link)
    return link


def test_the_name_in_pwd_is_taken_if_it_is_that_of_the_current_folder(
    link: Path, tmp_path: Path
) -> None:
    release = str(tmp_path / "release")
    assert started_in({"PWD": str(link)}) == str(link)
    other = [{"PWD": str(tmp_path)}, {"PWD": "."}, {"PWD": f"{link}/../current"}, {}]
    other += [{"PWD": str(tmp_path / "missing")}, {"PWD": release}]
    assert {started_in(environment) for environment in other} == {release}


def test_a_path_below_it_has_that_name_too(link: Path, tmp_path: Path) -> None:
    environment = {"PWD": str(link)}
    python = ".venv/bin/python"
    assert by_name(str(tmp_path / "release" / python), environment) == str(link / python)
    assert by_name(sys.executable, environment) == sys.executable
