"""docs/config-service.md: who types what it says sees what it shows."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mpchat.testsuite.service import Service
from tests.docs.pages import ROOT, blocks
from tests.docs.test_console import steps
from tests.kit.ports import free_port

PAGE = (ROOT / "docs" / "config-service.md").read_text()
SESSIONS = [block.text for block in blocks(PAGE) if block.language == "console"]
EXAMPLE = ROOT / "docs" / "examples" / "config_service"
_TIME = re.compile(r'"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+0000"')


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(EXAMPLE, tmp_path / "config_service"))


@pytest.fixture
def port(folder: Path) -> Iterator[int]:
    """The service that the page starts first of all, with the one thing that may be taken here."""
    port = free_port()
    config = folder / "static_config.yaml"
    config.write_text(config.read_text().replace("8083", str(port)))
    started = next(steps(SESSIONS[0]))[0].removesuffix(" &")
    name, *words = shlex.split(started)
    assert name == "python"
    service = Service([sys.executable, *words], folder)
    try:
        service.wait_ready()
        yield port
    finally:
        service.close()


def test_its_sessions(folder: Path, port: int) -> None:
    typed = [step for session in SESSIONS for step in steps(session)][1:]
    assert len(typed) == 4
    for command, shown in typed:
        here = command.replace("8083", str(port)).replace("python -m", f"{sys.executable} -m")
        result = subprocess.run(
            here, shell=True, cwd=folder, capture_output=True, text=True, check=True
        )
        # An answer has no line end of its own.
        assert _TIME.sub("", result.stdout) == _TIME.sub("", shown.removesuffix("\n")), command
