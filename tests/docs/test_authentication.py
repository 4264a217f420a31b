"""docs/authentication.md: its classes, its config and its file of tokens are right together."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
import yaml

import mpchat
from mpchat.auth.bearer import read_tokens
from mpchat.components.list import ComponentList
from mpchat.config.files import ConfigFiles
from mpchat.handlers.lists import default_component_list
from mpchat.template.loading import Sources, load_service
from tests.docs.pages import ROOT, blocks
from tests.docs.test_configuration import CONFIG

BLOCKS = list(blocks((ROOT / "docs" / "authentication.md").read_text()))


def of(language: str) -> list[str]:
    return [block.text for block in BLOCKS if block.language == language]


def names() -> dict[str, Any]:
    """Return what the classes of the page are, and what they use."""
    found = {name: getattr(mpchat, name) for name in mpchat.__all__}
    found |= {"Any": Any, "hashlib": hashlib, "__name__": "page"}
    for text in of("python"):
        if text.startswith("class "):
            exec(compile(text, "authentication.md", "exec"), found)
        else:
            compile(text, "authentication.md", "exec")
    return found


def test_the_config_serves_the_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COOKIE_KEY", "k" * 32)
    config = yaml.safe_load(CONFIG)
    for text in of("yaml"):
        config["components_manager"]["components"] |= yaml.safe_load(text)
    path = tmp_path / "static_config.yaml"
    path.write_text(yaml.safe_dump(config))
    components: ComponentList = default_component_list().append(names()["Members"])
    for name in ("BearerAuth", "CookieAuth", "JwtAuth", "TicketAuth", "TicketHandler"):
        components.append(getattr(mpchat, name))
    service = load_service(ConfigFiles(str(path)), components, Sources())
    assert service.warnings == ()


def test_the_file_of_tokens_is_read(tmp_path: Path) -> None:
    (text,) = of("json")
    path = tmp_path / "tokens.json"
    path.write_text(text)
    assert read_tokens(str(path))
