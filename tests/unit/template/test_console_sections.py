"""The sections of the console: when there is one, when it is left out, and when that is a mistake."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.template.sections import load, mistakes

CONFIG = """\
components_manager:
    task_processors: {main: {worker_threads: 1}, monitor: {worker_threads: 1}}
    default_task_processor: main
    components:
        server:
            listener: {port: 1}
            listener-monitor: {port: 2, task_processor: monitor}
        logging: {loggers: {default: {file_path: "@stderr"}}}
        websocket-handler: {path: /chat}
        handler-on-log-rotate: {path: /rotate, method: POST, throttling_enabled: false}
"""
WITHOUT = CONFIG.replace("listener-monitor: {port: 2, task_processor: monitor}", "")
MISSING = "without aiohttp: pip install 'mpchat[monitor]'"


def test_it_has_the_handlers_that_have_a_section(tmp_path: Path) -> None:
    service = load(CONFIG, tmp_path)
    assert service.console is not None
    listener = service.console.listener
    assert listener is not None
    assert (listener.address, listener.port) == ("127.0.0.1", 2)
    assert list(service.console.handlers) == ["handler-on-log-rotate"]
    (warning,) = (one for one in service.warnings if "without effect" in one)
    assert warning.endswith(": handler-on-log-rotate.throttling_enabled")


def test_a_section_may_be_switched_off(tmp_path: Path) -> None:
    text = CONFIG.replace("{path: /rotate,", "{load-enabled: false, path: /rotate,")
    service = load(text, tmp_path)
    assert service.console is not None
    assert service.console.handlers == {}


def test_without_a_listener_there_is_no_console(tmp_path: Path) -> None:
    service = load(WITHOUT.replace("handler-on-log", "#"), tmp_path)
    assert (service.console, service.console_missing) == (None, "")


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("listener-monitor: {port: 2, task_processor: monitor}", "", "expected server.listener-m"),
        ("port: 2", "address: localhost", "expected either port or unix-socket"),
        ("port: 2", "port: 2, unix-socket: a", "expected either port or unix-socket"),
        ("processor: monitor", "processor: other", "expected one of main, monitor, got other"),
        ("method: POST", "method: GET", "handler-on-log-rotate.method: expected methods of POST"),
        ("method: POST", "task_processor: other", "expected one of main, monitor, got other"),
        ("method: POST", "monitor-handler: false", "mpchat serves this handler where listener-mon"),
        ("path: /rotate", "path: rotate", "expected a path that begins with /"),
        ("path: /rotate", "path: /", "expected another path than those of the live page: /, /live"),
        ("path: /rotate", "path: /login/", "expected another path than those of the live page"),
        (
            "handler-on-log-rotate: {path: /rotate",
            "handler-dynamic-config: {path: /rotate/}\n        handler-on-log-rotate: {path: /rotate",
            "handler-dynamic-config.path: handler-on-log-rotate already has /rotate/",
        ),
        (
            "handler-on-log-rotate: {path: /rotate",
            "handler-log-level: {path: /level}\n        handler-on-log-rotate: {path: /rotate",
            "handler-log-level.path: expected a path with {level}",
        ),
        ("path: /rotate, ", "", "handler-on-log-rotate.path: required, but missing"),
        ("port: 2", "port: 2, token: short", "token: expected a secret of at least 16"),
        ("port: 2", "port: 2, hosts: ['A:1']", "expected a host name in lower case, without a por"),
    ],
)
def test_a_mistake_is_told_with_its_place(tmp_path: Path, old: str, new: str, told: str) -> None:
    assert old in CONFIG
    assert told in mistakes(CONFIG.replace(old, new, 1), tmp_path)


def test_a_secret_that_is_too_short_is_not_repeated(tmp_path: Path) -> None:
    assert "s3cr3t" not in mistakes(CONFIG.replace("port: 2", "port: 2, token: s3cr3t"), tmp_path)


@pytest.mark.usefixtures("no_aiohttp")
def test_a_config_with_userver_s_sections_starts_without_the_libraries(tmp_path: Path) -> None:
    service = load(CONFIG, tmp_path)
    assert service.console is None
    text = f"server.listener-monitor is left out, since there is no console {MISSING}"
    assert service.console_missing == text
    assert [one for one in service.warnings if "console" in one] == [f"{tmp_path}/c.yaml: {text}"]


@pytest.mark.usefixtures("no_aiohttp")
def test_our_own_options_need_the_libraries(tmp_path: Path) -> None:
    text = CONFIG.replace("port: 2", "port: 2, token: correct horse battery staple")
    told = mistakes(text, tmp_path)
    assert f"7:48: components.server.listener-monitor.token: there is no console {MISSING}" in told
