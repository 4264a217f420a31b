"""The service under test has its own copy of the values, which a test may change."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest_plugins = ["mpchat.testsuite"]

VALUES = Path(__file__).parent.parent / "configs.json"
USERVER_CONFIG_HOOKS = ["own_values"]


class ValuesFile:
    """Changed as operators do: a whole new file is moved into the place of the old one."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def set(self, **values: Any) -> None:
        """Change values."""
        self.replace(json.dumps(json.loads(self.path.read_text()) | values))

    def replace(self, text: str) -> None:
        """Change the whole file."""
        new = self.path.with_suffix(".new")
        new.write_text(text)
        os.replace(new, self.path)


@pytest.fixture
def values_file(service_tmpdir: Path) -> ValuesFile:
    """The file of values."""
    return ValuesFile(Path(shutil.copy(VALUES, service_tmpdir)))


@pytest.fixture
def own_values(values_file: ValuesFile) -> Callable[[Any, dict[str, Any]], None]:
    """Have the service serve that file."""

    def patch(config: Any, config_vars: dict[str, Any]) -> None:
        section = config["components_manager"]["components"]["config-file"]
        section["values-path"] = str(values_file.path)

    return patch
