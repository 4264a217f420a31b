"""The files that ``mpchat new`` writes fit together, and our own."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from mpchat.cli.verbs import commands
from mpchat.scaffold.writing import Kind, check_name, write_service
from tests.docs.pages import ROOT

KINDS: list[Kind | None] = [None, "auth", "rooms"]


def test_a_name_must_fit_everywhere() -> None:
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
        write_service(tmp_path, "my-chat", "auth")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", KINDS)
def test_its_name_is_everywhere(tmp_path: Path, kind: Kind | None) -> None:
    files = write_service(tmp_path, "my-chat", kind)
    assert [path for path in files if "my-service" in path.name + path.read_text()] == []
    assert not any("dot-" in str(path) for path in files)
    readme = (tmp_path / "my-chat" / "README.md").read_text()
    for named in re.findall(r"^\| (`.*`) \|", readme, re.M):
        for path in re.findall("`(.*?)`", named):
            assert (tmp_path / "my-chat" / path).exists(), path


# What it is, how to talk to it; with a login its tests and its secret, with rooms what its handler is.
@pytest.mark.parametrize(("kind", "others"), [("auth", 4), ("rooms", 3)])
def test_all_have_one_readme(kind: str, others: int) -> None:
    plain, other = (
        (ROOT / "mpchat" / "scaffold" / name / "README.md").read_text().splitlines()
        for name in ("my-service", f"my-service-{kind}")
    )
    assert len([line for line in plain if line not in other]) == others


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
