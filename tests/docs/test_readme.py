"""The README's service: served, checked, known to editors and tested as it says."""

from __future__ import annotations

import json
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml

from tests.docs.pages import ROOT, blocks
from tests.docs.terminal import Terminal
from tests.kit.ports import free_port

README = (ROOT / "README.md").read_text()
SHIPPED = (
    "mpchat",
    "Makefile",
    "README.md",
    "pyproject.toml",
    "hatch_build.py",
    "dynamic_config_fallback.json",
)


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, str]:
    """A fresh checkout, as far as the README needs it, and its README, for a port that is free here."""
    # It is compiled in less than half the time, which is most of what the commands take.
    monkeypatch.setenv("CFLAGS", "-O0")
    folder = tmp_path / "mpchat"
    folder.mkdir()
    port = str(free_port())
    for name in SHIPPED:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, folder / name)
    config = (ROOT / "static_config.yaml").read_text()
    (folder / "static_config.yaml").write_text(config.replace("8080", port))
    return folder, README.replace("8080", port)


def test_a_stranger_can_type_its_commands(checkout: tuple[Path, str], tmp_path: Path) -> None:
    folder, page = checkout
    assert "    make serve " in page
    service, terminal = Terminal(folder, tmp_path), Terminal(folder, tmp_path)
    try:
        service.type("make serve\n")
        service.wait_for(re.escape(re.findall(r"^    mpchat .* pid 123: (.*)$", page, re.M)[0]))
        for block in blocks(page):
            if block.file is not None:
                (folder / block.file).write_text(block.text)
            elif block.language == "console":
                terminal.follow(block.text)
            else:
                assert block.language == "sh"
                for line in block.text.splitlines():
                    terminal.type(line + "\n")
                    if line.startswith("pytest"):
                        terminal.wait_for("1 passed")
                    assert terminal.finish() == 0, line
        service.type("\x03")
        assert service.finish() == 0
    finally:
        service.close()
        terminal.close()


def test_its_own_service_keeps_the_ping(tmp_path: Path) -> None:
    for name in ("static_config.yaml", "dynamic_config_fallback.json"):
        shutil.copy(ROOT / name, tmp_path)
    write_its_service(tmp_path)
    app = ("--app", "my_service:components")
    result = run(tmp_path, "-m", "mpchat", "check", "-c", "static_config.yaml", *app)
    assert (result.stdout, result.stderr) == ("static_config.yaml: ok\n", "")
    namespace = runpy.run_path(str(tmp_path / "my_service.py"))
    assert "handler-ping" in dict(namespace["components"].items())


def write_its_service(folder: Path) -> None:
    (block,) = (block for block in blocks(README) if block.file == "my_service.py")
    (folder / "my_service.py").write_text(block.text)


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    result = subprocess.run(
        [sys.executable, *command], cwd=folder, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result


def test_its_schema_for_editors(tmp_path: Path) -> None:
    write_its_service(tmp_path)
    (printing,) = re.findall(r"^    python (.+) > schema\.json$", README, re.M)
    schema = json.loads(run(tmp_path, *printing.split()).stdout)
    assert "    # yaml-language-server: $schema=schema.json\n" in README
    config = yaml.safe_load((ROOT / "static_config.yaml").read_text())
    validator = jsonschema.Draft202012Validator(schema)
    validator.validate(config)
    config["components_manager"]["components"]["websocket-handler"]["no-such"] = 1
    assert not validator.is_valid(config)
