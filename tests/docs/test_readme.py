"""The README's service: served, checked, known to editors and tested as it says."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml

from tests.docs.pages import ROOT, blocks

PYTEST_INI = """[pytest]
asyncio_mode = auto
asyncio_default_fixture_loop_scope = function
filterwarnings = error
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("static_config.yaml", "dynamic_config_fallback.json"):
        shutil.copy(ROOT / name, tmp_path)
    for block in blocks((ROOT / "README.md").read_text()):
        assert block.file is not None
        (tmp_path / block.file).write_text(block.text)
    (tmp_path / "pytest.ini").write_text(PYTEST_INI)
    return tmp_path


def run(folder: Path, *command: str) -> str:
    result = subprocess.run(
        [sys.executable, *command], cwd=folder, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_its_service(folder: Path) -> None:
    checked = (
        "-m",
        "mpchat",
        "check",
        "-c",
        "static_config.yaml",
        "--app",
        "my_service:components",
    )
    assert run(folder, *checked) == "static_config.yaml: ok\n"
    assert "1 passed" in run(folder, "-m", "pytest", "-q")


def test_its_schema_for_editors(folder: Path) -> None:
    page = (ROOT / "README.md").read_text()
    (printing,) = re.findall(r"^    python (.+) > schema\.json$", page, re.M)
    schema = json.loads(run(folder, *printing.split()))
    assert "    # yaml-language-server: $schema=schema.json\n" in page
    config = yaml.safe_load((folder / "static_config.yaml").read_text())
    validator = jsonschema.Draft202012Validator(schema)
    validator.validate(config)
    config["components_manager"]["components"]["websocket-handler"]["no-such"] = 1
    assert not validator.is_valid(config)
