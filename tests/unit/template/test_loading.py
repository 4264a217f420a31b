"""Values that the system would refuse later are mistakes of the config, told with their place."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mpchat.auth.bearer import BearerAuth
from mpchat.auth.cookie import CookieAuth
from mpchat.components.component import Component
from mpchat.config.files import ConfigFiles
from mpchat.config.types import MAX_DEPTH, ConfigPath, OptionsModel
from mpchat.dynamic_config.json_file import read_json
from mpchat.errors import ConfigError, describe_os_error
from mpchat.handlers.lists import default_component_list
from mpchat.handlers.ping import Ping
from mpchat.template.loading import Sources, check, load_service

CONFIG = """\
components_manager:
    task_processors: {main: {worker_threads: 1}}
    default_task_processor: main
    components:
        server:
            listener: {port: 1, address: "::1", backlog: 1}
            worker-hang-timeout: 1s
            control-socket: "control"
        logging:
            loggers: {default: {file_path: "log", message_queue_size: 1}}
        websocket-handler: {path: /chat, max-remote-payload: 1, fragment-size: 1}
"""
ZERO = "a text must not contain a zero byte"


def load(text: str, folder: Path) -> None:
    path = folder / "c.yaml"
    path.write_text(text)
    load_service(ConfigFiles(str(path)), default_component_list(), Sources())


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('"::1"', '"a\\0b"', f"6:42: components.server.listener.address: {ZERO}"),
        (
            '"::1"',
            "a..b",
            "6:42: components.server.listener.address: expected an IP address or a",
        ),
        ("backlog: 1", "backlog: 4294967295", "listener.backlog: expected at most 2147483647"),
        ("1s", f"1{'0' * 400}s", "worker-hang-timeout: expected a duration of at most 3650d"),
        ("1s", "3651d", "worker-hang-timeout: expected a duration of at most 3650d"),
        ('"control"', '"a\\0b"', f"8:29: components.server.control-socket: {ZERO}"),
        ('"log"', '"a\\0b"', f"components.logging.loggers.default.file_path: {ZERO}"),
        ("queue_size: 1", "queue_size: 9999999999", "message_queue_size: expected at most"),
        ("payload: 1", "payload: 2147483648", "max-remote-payload: expected at most 2147483647"),
        ("{port: 1,", "{port: " + "[" * 101 + "]" * 101 + ",", "nested too deeply: 100 levels"),
    ],
)
def test_a_value_that_the_system_would_refuse(
    tmp_path: Path, old: str, new: str, told: str
) -> None:
    load(CONFIG, tmp_path)
    assert old in CONFIG
    with pytest.raises(ConfigError) as caught:
        load(CONFIG.replace(old, new, 1), tmp_path)
    assert told in str(caught.value)


def test_the_rooms_of_a_service_are_one_component(tmp_path: Path) -> None:
    class Lobby(Component):
        name = "lobby"
        needs_broker = True

    class Attic(Lobby):
        name = "attic"

    components = default_component_list().append(Lobby).append(Attic)
    path = tmp_path / "c.yaml"
    files = ConfigFiles(str(path))
    path.write_text(CONFIG + "        lobby: {}\n")
    rooms = load_service(files, components, Sources()).rooms()
    assert rooms is not None
    assert rooms.name == "lobby"
    path.write_text(CONFIG + "        lobby: {}\n        attic: {load-enabled: true}\n")
    expected = "a service has one component of rooms, and lobby is it already"
    with pytest.raises(ConfigError, match=rf"c\.yaml:13:16: components\.attic: {expected}"):
        load_service(files, components, Sources())


def test_an_authors_path_is_relative_to_the_config(tmp_path: Path) -> None:
    class Store(Component):
        name = "store"

        class Options(Component.Options):
            file: ConfigPath = "unused"

    path = tmp_path / "c.yaml"
    components = default_component_list().append(Store).append(Store, "absolute")
    path.write_text(f"{CONFIG}        store: {{file: a/b}}\n        absolute: {{file: /a}}\n")
    service = load_service(ConfigFiles(str(path)), components, Sources())
    files = {plan.name: plan.options.file for plan in service.components if plan.cls is Store}
    assert files == {"store": str(tmp_path / "a/b"), "absolute": "/a"}


@pytest.mark.parametrize("depth", [MAX_DEPTH, MAX_DEPTH + 1, 600, 100_000])
def test_json_that_is_nested_too_deeply_is_refused(depth: int) -> None:
    text = '{"X": ' + "[" * (depth - 1) + "1" + "]" * (depth - 1) + "}"
    if depth <= MAX_DEPTH:
        read_json(text, "d.json")
        return
    with pytest.raises(ConfigError, match=r"d\.json: nested too deeply: 100 levels are allowed"):
        read_json(text, "d.json")


def numbers(schema: Any) -> Iterator[dict[str, Any]]:
    if isinstance(schema, dict):
        if schema.get("type") == "integer":
            yield schema
        for part in schema.values():
            yield from numbers(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from numbers(part)


def models(base: type[OptionsModel]) -> Iterator[type[OptionsModel]]:
    for cls in base.__subclasses__():
        yield cls
        yield from models(cls)


def test_every_number_has_an_upper_bound() -> None:
    ours = [model for model in models(OptionsModel) if model.__module__.startswith("mpchat.")]
    assert len(ours) > 15
    without = [
        (model.__qualname__, number)
        for model in ours
        for number in numbers(model.model_json_schema())
        if "maximum" not in number and "exclusiveMaximum" not in number
    ]
    assert without == []


def test_what_the_resolver_says_is_told_in_its_words() -> None:
    error = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    assert describe_os_error(error) == "Name or service not known"
    assert describe_os_error(OSError("AF_UNIX path too long")) == "AF_UNIX path too long"


AUTH = CONFIG.replace("{path: /chat,", "{path: /chat, auth: {types: [bearer]},")
MISSING = (
    "websocket-handler.auth.types[0]: expected a checker that is in the component list and has a"
)


def test_a_handlers_checkers_are_there(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    for components, section in (
        (default_component_list(), ""),
        (default_component_list().append(BearerAuth), ""),
        (default_component_list().append(Ping, "bearer"), "        bearer: {path: /x}\n"),
    ):
        path.write_text(AUTH + section)
        with pytest.raises(ConfigError) as caught:
            load_service(ConfigFiles(str(path)), components, Sources())
        assert MISSING in str(caught.value)
    path.write_text(f"{AUTH}        bearer: {{}}\n")
    components = default_component_list().append(BearerAuth)
    assert load_service(ConfigFiles(str(path)), components, Sources())


def test_a_short_key_is_refused_and_not_repeated(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(f"{CONFIG}        signed-cookie: {{key: s3cret}}\n")
    components = default_component_list().append(CookieAuth)
    with pytest.raises(ConfigError) as caught:
        load_service(ConfigFiles(str(path)), components, Sources())
    assert "signed-cookie.key: expected a key of at least 32 characters" in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_files_that_options_name_are_checked(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(f"{CONFIG}        bearer: {{tokens-path: tokens.json}}\n")
    components = default_component_list().append(BearerAuth)
    with pytest.raises(ConfigError, match=r"tokens\.json: cannot be read: No such file"):
        check(ConfigFiles(str(path)), components)
    (tmp_path / "tokens.json").write_text('{"ada": {"tokens": []}}')
    with pytest.raises(ConfigError, match=r"tokens\.json:1:20: ada\.tokens: expected a list of"):
        check(ConfigFiles(str(path)), components)
    (tmp_path / "tokens.json").write_text('{"ada": {"tokens": ["a"]}}')
    assert check(ConfigFiles(str(path)), components).warnings == []


class Users(Component):
    name = "users"

    class Options(Component.Options):
        path: ConfigPath

    @classmethod
    def check_files(cls, options: Any) -> None:
        if not Path(options.path).read_text():
            raise ValueError(f"{options.path}: nobody is in it")


def test_an_authors_check_says_what_is_wrong_in_words(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(f"{CONFIG}        users: {{path: users.txt}}\n")
    components = default_component_list().append(Users)
    with pytest.raises(ConfigError, match=r"^users: .*No such file or directory: '.*users\.txt'$"):
        check(ConfigFiles(str(path)), components)
    (tmp_path / "users.txt").touch()
    with pytest.raises(ConfigError, match=r"^users: .*users\.txt: nobody is in it$"):
        check(ConfigFiles(str(path)), components)
