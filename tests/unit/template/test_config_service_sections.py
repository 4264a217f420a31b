"""The sections of the config service's client: when it is followed, when not, and what is a mistake."""

from __future__ import annotations

from pathlib import Path

import pytest

from mpchat.dynamic_config.layer import to_bytes
from mpchat.errors import ConfigError
from mpchat.template.dynamic import has_values, load_dynamic
from tests.unit.template.sections import load, mistakes

CONFIG = """\
components_manager:
    task_processors: {main: {worker_threads: 1}}
    default_task_processor: main
    components:
        server: {listener: {port: 1}}
        logging: {loggers: {default: {file_path: "@stderr"}}}
        websocket-handler: {path: /chat}
        dynamic-config: {updates-enabled: true, fs-cache-path: cache.json, defaults: {RATE: 1}}
        dynamic-config-fallbacks: {fallback-path: fallback.json}
        dynamic-config-client:
            config-url: http://127.0.0.1:8083
            service-name: chat
            http-timeout: 1s
            http-retries: 3
        dynamic-config-client-updater:
            config-settings: false
            first-update-fail-ok: true
            update-interval: 5s
"""
LIMITS = {"max_connections": 5}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "fallback.json").write_text('{"OTHER": 2, "USERVER_LOG_REQUEST": false}')
    return tmp_path


def test_it_is_followed_without_a_listener(folder: Path) -> None:
    service = load(CONFIG, folder)
    assert service.console is not None
    assert service.console.listener is None
    followed = service.config_service
    assert followed is not None
    assert followed.client.url == "http://127.0.0.1:8083/configs/values"
    assert followed.cache_path == str(folder / "cache.json")
    assert {"MPCHAT_LIMITS", "RATE", "OTHER"} <= set(followed.ids)
    assert len(followed.ids) == len(set(followed.ids))
    assert not any("without effect" in warning for warning in service.warnings)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("update-interval: 5s", "update-interval: 5s\n            load-enabled: false"),
        ("update-interval: 5s", "update-interval: 5s\n            updates-enabled: false"),
    ],
)
def test_it_may_be_switched_off(folder: Path, old: str, new: str) -> None:
    assert load(CONFIG.replace(old, new), folder).config_service is None


def test_a_client_alone_has_no_effect_and_that_is_said(folder: Path) -> None:
    service = load(CONFIG[: CONFIG.index("        dynamic-config-client-updater")], folder)
    assert service.config_service is None
    assert any("has no effect without dynamic-config-client-updater" in w for w in service.warnings)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (
            "updates-enabled: true, ",
            "",
            "updates-enabled: expected true, since there is a dynamic-c",
        ),
        (
            "dynamic-config-client:",
            "handler-ping:",
            "updater: expected a section dynamic-config-cl",
        ),
        ("config-settings: false", "config-settings: true", "be false: USERVER_CACHES cannot"),
        (
            "service-name: chat",
            "service-name: chat\n            configs-stage-filepath: no.json\n"
            "            get-configs-overrides-for-service: false",
            "no.json: cannot be read",
        ),
    ],
)
def test_a_mistake_is_told_with_its_place(folder: Path, old: str, new: str, told: str) -> None:
    assert old in CONFIG
    assert told in mistakes(CONFIG.replace(old, new, 1), folder)


@pytest.mark.usefixtures("no_aiohttp")
def test_userver_s_sections_start_without_the_libraries(folder: Path) -> None:
    service = load(CONFIG, folder)
    assert service.config_service is None
    (warning,) = (one for one in service.warnings if "aiohttp" in one)
    assert "dynamic-config-client-updater is left out" in warning
    assert "pip install 'mpchat[monitor]'" in warning


@pytest.mark.usefixtures("no_aiohttp")
def test_our_own_options_need_the_libraries(folder: Path) -> None:
    text = CONFIG.replace(
        "service-name: chat", "service-name: chat\n            max-answer-size: 1000"
    )
    told = mistakes(text, folder)
    assert "dynamic-config-client.max-answer-size: no config service is asked without" in told


# The layers


def test_what_it_says_is_above_the_files(folder: Path) -> None:
    service = load(CONFIG, folder)
    said = to_bytes("http://there", {"OTHER": 3, "MPCHAT_FROM_THE_FUTURE": 1, "unknown": None})
    loaded = load_dynamic(service, said)
    assert loaded.values["OTHER"] == 3
    assert loaded.values["RATE"] == 1
    assert loaded.values["MPCHAT_FROM_THE_FUTURE"] == 1
    assert loaded.origins["OTHER"] == "config service http://there"
    assert loaded.origins["RATE"] == f"{folder}/c.yaml:8:93"
    assert [one for one in loaded.warnings if "FUTURE" in one or "unknown" in one] == []


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            to_bytes("http://there", {"MPCHAT_LIMITS": 7, "OTHER": 3}),
            "config service http://there: MPCHAT_LIMITS: expected",
        ),
        (b"[]", "config service: the console passes on what is no set of variables"),
        (b"{", "config service: the console passes on what is not JSON"),
        (b"[" * 100_000, "config service: the console passes on what is not JSON"),
    ],
)
def test_a_mistake_in_what_it_says_refuses_all_of_it(folder: Path, said: bytes, told: str) -> None:
    service = load(CONFIG, folder)
    with pytest.raises(ConfigError) as caught:
        load_dynamic(service, said)
    assert told in str(caught.value)


def test_before_its_first_answer_the_cache_is_above_the_files(folder: Path) -> None:
    service = load(CONFIG, folder)
    (folder / "cache.json").write_text('{"OTHER": 9,\n "MPCHAT_LIMITS": {"max_connections": 5}}')
    loaded = load_dynamic(service)
    assert (loaded.values["OTHER"], loaded.values["MPCHAT_LIMITS"]) == (9, LIMITS)
    assert loaded.origins["MPCHAT_LIMITS"] == f"cache {folder}/cache.json:2:19"
    said = to_bytes("http://there", {})
    assert load_dynamic(service, said).values["OTHER"] == 2


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "cache.json: cannot be read"),
        ("", "cache.json:1:1: not valid JSON"),
        ('{"OTHER": 9', "not valid JSON"),
        ("[1]", "expected an object"),
        ('{"OTHER": 9, "OTHER": 8}', "OTHER: given twice"),
        ('{"OTHER": 9, "a b": 8}', "not a cache of variables: it has 'a b'"),
        ('{"OTHER": 9, "MPCHAT_LIMITS": 7}', "MPCHAT_LIMITS: expected"),
    ],
)
def test_a_cache_that_cannot_be_used_is_left_out(
    folder: Path, content: str | None, told: str
) -> None:
    service = load(CONFIG, folder)
    if content is not None:
        (folder / "cache.json").write_text(content)
    loaded = load_dynamic(service)
    assert loaded.values["OTHER"] == 2
    (warning,) = (one for one in loaded.warnings if "no cache" in one)
    assert told in warning


def test_it_needs_no_answer_with_values_of_any_kind(folder: Path) -> None:
    assert has_values(load(CONFIG, folder))
    text = CONFIG.replace(", defaults: {RATE: 1}", "")
    assert has_values(load(text, folder))
    bare = text.replace("        dynamic-config-fallbacks: {fallback-path: fallback.json}\n", "")
    assert not has_values(load(bare, folder))
    (folder / "cache.json").write_text('{"OTHER": 1}')
    assert has_values(load(bare, folder))
    (folder / "cache.json").write_text('{"MPCHAT_LIMITS": 1}')
    assert not has_values(load(bare, folder))
