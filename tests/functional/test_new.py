"""The service that ``mpchat new`` writes passes its own tests, and its files fit together."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mpchat.cli.verbs import commands
from mpchat.scaffold.writing import check_name, write_service
from tests.docs.pages import ROOT
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


def test_it_passes_its_own_tests(mpchat: Mpchat, tmp_path: Path) -> None:
    done = mpchat("new", "my-chat", cwd=tmp_path)
    assert done.stdout.splitlines()[-1] == "next: cd my-chat, and follow README.md"
    folder = tmp_path / "my-chat"
    assert "passed" in run(folder, "pytest", "-q", "-p", "no:cacheprovider")
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
    for name in ("", "-a", "a-", "a--b", "1a", "a/b", "..", "x" * 32, "mpchat", "ä"):
        with pytest.raises(ValueError, match=r"expected|something else"):
            check_name(name)
    for name in ("a", "my-chat-2", "x" * 31):
        check_name(name)


def test_where_nothing_can_be_written_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_text(path: Path, text: str, _encoding: str) -> int:
        if path.name == "main.py":
            raise OSError(28, "No space left on device", str(path))
        return len(text)

    monkeypatch.setattr(Path, "write_text", write_text)
    with pytest.raises(OSError, match="No space left"):
        write_service(tmp_path, "my-chat")
    assert list(tmp_path.iterdir()) == []


def test_its_name_is_everywhere(tmp_path: Path) -> None:
    files = write_service(tmp_path, "my-chat")
    assert [path for path in files if "my-service" in path.name + path.read_text()] == []
    assert not any("dot-" in str(path) for path in files)
    readme = (tmp_path / "my-chat" / "README.md").read_text()
    for named in re.findall(r"^\| (`.*`) \|", readme, re.M):
        for path in re.findall("`(.*?)`", named):
            assert (tmp_path / "my-chat" / path).exists(), path


def test_its_unit_is_ours(tmp_path: Path) -> None:
    write_service(tmp_path, "my-chat")
    unit = directives(tmp_path / "my-chat" / "deploy" / "my-chat.service")
    ours = directives(ROOT / "deploy" / "mpchat.service")
    own = {name for name in unit | ours if unit.get(name) != ours.get(name)}
    assert own == {
        "Description",
        "User",
        "Group",
        "RuntimeDirectory",
        "WorkingDirectory",
        "ExecStart",
        "ExecReload",
        # Instead of the folders of our packages:
        "EnvironmentFile",
        "LogsDirectory",
        "ConfigurationDirectory",
        "ReadWritePaths",
    }
    program, verb, *arguments = unit["ExecStart"][0].split()
    assert program == "/opt/my-chat/.venv/bin/mpchat"
    options = commands.commands[verb].make_context(verb, arguments).params
    assert options["config"] == "/opt/my-chat/static_config.yaml"
    assert options["app"] == "main:components"


def directives(path: Path) -> dict[str, list[str]]:
    """Return the values of a unit by their names."""
    found: dict[str, list[str]] = {}
    for line in path.read_text().splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(name, []).append(value)
    return found


def test_its_image_starts_what_it_copies(tmp_path: Path) -> None:
    write_service(tmp_path, "my-chat")
    lines = (tmp_path / "my-chat" / "Dockerfile").read_text().splitlines()
    base, copy, start = [line for line in lines if not line.startswith("#")]
    assert base == "FROM mpchat"
    for pattern in copy.split()[1:-1]:
        assert list((tmp_path / "my-chat").glob(pattern))
    verb, *arguments = json.loads(start.removeprefix("CMD "))
    options = commands.commands[verb].make_context(verb, arguments).params
    assert options["config"] == copy.split()[-1] + "static_config.yaml"
