"""The component list: names, and classes that are imported on demand."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mpchat.components.list import ComponentList
from mpchat.handlers.lists import default_component_list
from mpchat.handlers.ping import Ping

LOAD = """
import sys
from mpchat.config.files import ConfigFiles
from mpchat.handlers.lists import default_component_list
from mpchat.template.loading import Sources, load_service
load_service(ConfigFiles(sys.argv[1]), default_component_list(), Sources())
print(*sorted(name for name in sys.modules if name.startswith("mpchat.rooms")))
"""
CONFIG = """
components_manager:
    task_processors: {main: {worker_threads: 1}}
    default_task_processor: main
    components:
        server: {listener: {port: 1}}
        handler-ping: {path: /ping}
"""


def test_a_class_on_demand_is_imported_for_its_section() -> None:
    components = ComponentList().append_on_demand("handler-ping", "mpchat.handlers.ping", "Ping")
    components.append_on_demand("other", "no.such.module", "Other")
    assert components.names() == ["handler-ping", "other"]
    assert [*components.items(["handler-ping", "x"])] == [("handler-ping", Ping)]
    with pytest.raises(ModuleNotFoundError):
        [*components.items()]


def test_an_authors_class_takes_the_place_of_one_on_demand() -> None:
    components = ComponentList().append_on_demand("handler-ping", "no.such.module", "Ping")
    components.append(Ping).append_on_demand("handler-ping", "no.such.module", "Ping")
    assert [*components.items()] == [("handler-ping", Ping)]
    with pytest.raises(ValueError, match="already in the list"):
        components.append(Ping)


def test_the_default_list_has_rooms() -> None:
    names = ["rooms", "room-handler", "handler-rooms"]
    found = dict(default_component_list().items())
    assert [found[name].name for name in names] == names


@pytest.mark.parametrize("section", ["", "        rooms: {}\n"])
def test_a_service_without_rooms_has_none_of_their_code(section: str, tmp_path: Path) -> None:
    path = tmp_path / "static_config.yaml"
    path.write_text(CONFIG + section)
    command = [sys.executable, "-c", LOAD, str(path)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert bool(result.stdout.strip()) == bool(section)
