"""The sections of the config service: what they allow together, and what they come to."""

from __future__ import annotations

from typing import Any

import pytest

from mpchat.config.userver import load_userver_names
from mpchat.config.validation import validate
from mpchat.config.yaml_file import Document
from mpchat.config_service.options import ClientOptions, UpdaterOptions
from mpchat.errors import ConfigError, Problem

CLIENT = {
    "config-url": "http://127.0.0.1:8083",
    "service-name": "chat",
    "http-timeout": "20s",
    "http-retries": 5,
}
UPDATER = {"config-settings": False, "first-update-fail-ok": True, "update-interval": "5s"}


def client(**options: Any) -> ClientOptions:
    given = {name.replace("_", "-"): value for name, value in options.items()}
    return ClientOptions.model_validate({**CLIENT, **given})


def updater(**options: Any) -> UpdaterOptions:
    given = {name.replace("_", "-"): value for name, value in options.items()}
    return UpdaterOptions.model_validate({**UPDATER, **given})


def refusal_of(model: type[Any], section: dict[str, Any]) -> str:
    problems: list[Problem] = []
    document = Document("config.yaml", section, {(): (1, 1)})
    assert validate(model, document, (), problems) is None
    return "; ".join(f"{found.path}: {found.text}" for found in problems)


def test_defaults_are_those_of_userver() -> None:
    options = client()
    assert options.append_path_to_url
    assert options.get_configs_overrides_for_service
    assert options.stage(str) is None
    assert options.token is None
    assert options.max_answer_size == 16 * 1024 * 1024
    updates = updater()
    assert updates.store_enabled
    assert updates.load_only_my_values
    assert updates.deduplicate_update_types == "full-and-incremental"
    assert updates.types == "only-full"
    assert updates.jitter == pytest.approx(0.5)
    assert updates.exception_interval is None
    assert updates.updates_enabled


@pytest.mark.parametrize("name", [*CLIENT])
def test_the_client_needs(name: str) -> None:
    section = {key: value for key, value in CLIENT.items() if key != name}
    assert refusal_of(ClientOptions, section) == f"{name}: required, but missing"


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("update-interval", "update-interval: required, but missing"),
        (
            "config-settings",
            ": config-settings has to be false: USERVER_CACHES cannot change these",
        ),
        ("first-update-fail-ok", ": first-update-fail-ok has to be true: without a first update"),
    ],
)
def test_the_updater_needs(name: str, problem: str) -> None:
    section = {key: value for key, value in UPDATER.items() if key != name}
    assert refusal_of(UpdaterOptions, section).startswith(problem)


@pytest.mark.covers(
    "UpdaterOptions.config-settings",
    "UpdaterOptions.first-update-fail-ok",
    "UpdaterOptions.updates-sink",
)
def test_options_that_have_one_value() -> None:
    assert updater(config_settings=False, first_update_fail_ok=True, updates_sink="dynamic-config")
    for option, value in (
        ("config-settings", True),
        ("first-update-fail-ok", False),
        ("updates-sink", "elsewhere"),
    ):
        assert option in refusal_of(UpdaterOptions, {**UPDATER, option: value})


@pytest.mark.covers("ClientOptions.append-path-to-url")
def test_the_path_is_appended_as_it_stands() -> None:
    assert client().url == "http://127.0.0.1:8083/configs/values"
    url = "http://localhost:8083/"
    assert client(config_url=url).url == "http://localhost:8083//configs/values"
    assert client(config_url=url, append_path_to_url=False).url == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:8083",
        "ftp://host/",
        "http://",
        "http://[::1",
        "http://h:port",
        "http://h:0/",
        "http://a b/",
        "http://h/\n",
        "http://bücher/",
        "http://a..b/",
        f"http://{'a' * 64}.example/",
    ],
)
def test_a_url_is_one(url: str) -> None:
    problem = refusal_of(ClientOptions, {**CLIENT, "config-url": url})
    assert problem.startswith("config-url: expected a URL such as http://127.0.0.1:8083, got ")


def test_a_password_belongs_into_the_token() -> None:
    section = {**CLIENT, "config-url": "http://me:hidden@host"}
    problem = refusal_of(ClientOptions, section)
    assert problem == "config-url: expected a URL without a name and a password: use token"


@pytest.mark.parametrize("token", ["", "two words", "line\nbreak", "schlüssel"])
def test_a_token_fits_a_header(token: str) -> None:
    problem = refusal_of(ClientOptions, {**CLIENT, "token": token})
    assert (
        problem == "token: expected a secret of visible ASCII characters, which a header can carry"
    )


@pytest.mark.parametrize("option", ["configs-stage", "configs-stage-filepath"])
def test_a_stage_goes_without_overrides(option: str) -> None:
    section = {**CLIENT, option: "testing"}
    problem = refusal_of(ClientOptions, section)
    assert "a stage needs get-configs-overrides-for-service: false" in problem
    assert ClientOptions.model_validate({**section, "get-configs-overrides-for-service": False})


@pytest.mark.covers("ClientOptions.configs-stage-filepath")
def test_a_file_of_the_stage_wins() -> None:
    both = client(
        configs_stage="other",
        configs_stage_filepath="stage.json",
        get_configs_overrides_for_service=False,
    )
    assert both.stage({"stage.json": '{"env_name": "testing"}'}.__getitem__) == "testing"


def test_an_empty_stage_is_none() -> None:
    assert client(configs_stage="").stage(str) is None


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}", '{"env_name": ""}', "[" * 100_000])
def test_a_file_of_a_stage_has_one(text: str) -> None:
    staged = client(configs_stage_filepath="/s", get_configs_overrides_for_service=False)
    with pytest.raises(ConfigError, match=r"^/s: expected"):
        staged.stage(lambda _path: text)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "only-full"),
        ({"full-update-interval": "1m"}, "full-and-incremental"),
        (
            {"full-update-interval": "1m", "update-types": "full-and-incremental"},
            "full-and-incremental",
        ),
        ({"update-types": "only-full"}, "only-full"),
        ({"update-types": "only-incremental"}, "only-incremental"),
    ],
)
def test_types_of_updates_follow_the_intervals(options: dict[str, str], expected: str) -> None:
    assert UpdaterOptions.model_validate({**UPDATER, **options}).types == expected


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (
            {"update-types": "full-and-incremental"},
            "full-and-incremental needs full-update-interval",
        ),
        (
            {"update-types": "only-full", "full-update-interval": "1m"},
            "only-full has no full-update-interval: leave one of the two out",
        ),
        (
            {"update-types": "only-incremental", "full-update-interval": "1m"},
            "only-incremental has no full-update-interval: leave one of the two out",
        ),
        ({"update-interval": "0s"}, "expected more than 0s"),
        ({"updates-sink": "elsewhere"}, "expected 'dynamic-config', got 'elsewhere'"),
    ],
)
def test_intervals_that_do_not_go_together(options: dict[str, str], problem: str) -> None:
    assert problem in refusal_of(UpdaterOptions, {**UPDATER, **options})


@pytest.mark.covers("UpdaterOptions.update-jitter", "UpdaterOptions.full-update-jitter")
def test_jitters_are_a_tenth_by_default() -> None:
    found = updater(full_update_interval="1m")
    assert found.jitter == pytest.approx(0.5)
    assert found.full_jitter == pytest.approx(6)
    found = updater(full_update_interval="1m", update_jitter="1s", full_update_jitter="0s")
    assert (found.jitter, found.full_jitter) == (1, 0)


def test_what_only_userver_has_is_known() -> None:
    names = load_userver_names()
    assert {"http-client", "fallback-to-no-proxy"} <= names.components["dynamic-config-client"]
    assert "is-strong-period" in names.components["dynamic-config-client-updater"]
