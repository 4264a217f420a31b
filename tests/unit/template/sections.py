"""Loads static configs that a test has as text."""

from __future__ import annotations

from pathlib import Path

import pytest

from mpchat.config.files import ConfigFiles
from mpchat.errors import ConfigError
from mpchat.handlers.lists import default_component_list
from mpchat.template.loading import Sources, load_service
from mpchat.worker.service import Service


def load(text: str, folder: Path) -> Service:
    """Return the service of a config, which is written into the folder."""
    path = folder / "c.yaml"
    path.write_text(text)
    return load_service(ConfigFiles(str(path)), default_component_list(), Sources())


def mistakes(text: str, folder: Path) -> str:
    """Return what is told of a config with mistakes."""
    with pytest.raises(ConfigError) as caught:
        load(text, folder)
    return str(caught.value)
