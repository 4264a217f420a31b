"""The verb ``mpchat new``: what it writes passes its own tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kit.verbs import Mpchat


def run(folder: Path, *command: str) -> str:
    """Run a module of this Python in a folder; return what it says, if all went well."""
    environment = {**os.environ, "PYTEST_ADDOPTS": ""}
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=folder,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.mark.parametrize("option", [None, "--auth", "--rooms"])
def test_it_passes_its_own_tests(
    mpchat: Mpchat, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str | None
) -> None:
    done = mpchat("new", "my-chat", *([option] if option else []), cwd=tmp_path)
    assert done.stdout.splitlines()[-1] == "next: cd my-chat, and follow README.md"
    folder = tmp_path / "my-chat"
    assert "passed" in run(folder, "pytest", "-q", "-p", "no:cacheprovider")
    monkeypatch.setenv("COOKIE_KEY", "x" * 32)
    command = ("mpchat", "check", "--config", "static_config.yaml", "--app", "main:components")
    assert run(folder, *command) == "static_config.yaml: ok\n"


def test_what_exists_stays(mpchat: Mpchat, tmp_path: Path) -> None:
    (tmp_path / "my-chat").mkdir()
    done = mpchat("new", "my-chat", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr == (
        "Error: my-chat exists here already: choose another name, or remove it\n"
    )
    assert list((tmp_path / "my-chat").iterdir()) == []


def test_a_name_must_fit_everywhere(mpchat: Mpchat, tmp_path: Path) -> None:
    done = mpchat("new", "My_Chat", cwd=tmp_path)
    assert done.returncode == 64
    assert "small letters, digits and single hyphens, as in my-chat, got 'My_Chat'" in done.stderr


def test_a_service_is_of_one_kind(mpchat: Mpchat, tmp_path: Path) -> None:
    done = mpchat("new", "my-chat", "--auth", "--rooms", cwd=tmp_path)
    assert done.returncode == 64
    assert "--auth and --rooms write different services: choose one" in done.stderr
    assert list(tmp_path.iterdir()) == []
