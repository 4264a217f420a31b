"""Passphrases of private keys that secdist has: where they are looked for, and what is told."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from mpchat.config.secdist import PROVIDER, SecdistProviderOptions
from mpchat.errors import ConfigError
from mpchat.template.certificates import certificates_of
from mpchat.template.secdist import find_passphrase
from mpchat.worker.service import Service
from tests.kit.certificates import PASSPHRASE
from tests.kit.certificates import Certificates as Files
from tests.unit.template.sections import load, mistakes

SECRET = "do not show me"
TLS = {"cert": "a.crt", "private-key": "a.key", "private-key-passphrase-name": "tls"}


def config(listener: dict[str, Any], **sections: Any) -> str:
    components = {
        "server": {"listener": listener},
        "logging": {"loggers": {"default": {"file_path": "@stderr"}}},
        "websocket-handler": {"path": "/chat"},
        **{name.replace("_", "-"): section for name, section in sections.items()},
    }
    manager = {
        "task_processors": {"main": {"worker_threads": 1}},
        "default_task_processor": "main",
        "components": components,
    }
    return yaml.safe_dump({"components_manager": manager}, sort_keys=False)


def options(**given: Any) -> dict[str, Any]:
    return {name.replace("_", "-"): value for name, value in given.items()}


def service(folder: Path, **provider: Any) -> Service:
    listener = {"port": 1, "tls": TLS}
    return load(config(listener, default_secdist_provider=options(**provider)), folder)


def passphrase(folder: Path, name: str = "tls", **provider: Any) -> str:
    found = service(folder, **provider).secdist
    assert found is not None
    return find_passphrase(found, name)


def refusal(folder: Path, name: str = "tls", **provider: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        passphrase(folder, name, **provider)
    assert SECRET not in str(caught.value)
    return str(caught.value).replace(f"{folder}/", "")


def write(folder: Path, content: Any, name: str = "secdist.json") -> None:
    (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))


def test_the_key_of_a_certificate_is_read_with_it(tmp_path: Path, certificates: Files) -> None:
    pair = certificates.encrypted
    tls = {**pair.options, "private-key-passphrase-name": "tls"}
    provider = {"config": "secdist.json"}
    text = config({"port": 1, "tls": tls}, default_secdist_provider=provider)
    write(tmp_path, {"passphrases": {"tls": "old"}})
    found = certificates_of(load(text, tmp_path))
    with pytest.raises(ConfigError, match=f"{pair.key}: the passphrase is wrong"):
        found.load(time.time())
    write(tmp_path, {"passphrases": {}})
    with pytest.raises(ConfigError, match=r"passphrases\.tls: there is no such passphrase"):
        found.load(time.time())
    write(tmp_path, {"passphrases": {"tls": PASSPHRASE}})  # a reload reads it again
    assert found.load(time.time()).warnings == []


@pytest.mark.covers("SecdistProviderOptions.config")
def test_a_file_in_json(tmp_path: Path) -> None:
    write(tmp_path, {"passphrases": {"tls": SECRET, "other": "x"}, "more": 1})
    assert passphrase(tmp_path, config="secdist.json") == SECRET
    assert passphrase(tmp_path, config=str(tmp_path / "secdist.json")) == SECRET
    assert passphrase(tmp_path, "other", config="secdist.json") == "x"


@pytest.mark.covers("SecdistProviderOptions.format")
def test_a_file_in_yaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, f"passphrases:\n    tls: {SECRET}\n", "secdist.yaml")
    assert passphrase(tmp_path, config="secdist.yaml", format="yaml") == SECRET
    monkeypatch.setenv("THE_PASSPHRASE", SECRET)
    write(tmp_path, "passphrases: {tls#env: THE_PASSPHRASE}\n", "secdist.yaml")
    assert passphrase(tmp_path, config="secdist.yaml", format="yaml_config") == SECRET
    assert "has only tls#env" in refusal(tmp_path, config="secdist.yaml", format="yaml")


@pytest.mark.covers("SecdistProviderOptions.environment-secrets-key")
def test_the_environment_adds_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, {"passphrases": {"tls": "old", "other": "x"}})
    found = service(tmp_path, config="secdist.json", environment_secrets_key="SECRETS").secdist
    assert found is not None
    monkeypatch.delenv("SECRETS", raising=False)
    assert find_passphrase(found, "tls") == "old"
    monkeypatch.setenv("SECRETS", json.dumps({"passphrases": {"tls": SECRET}}))
    assert find_passphrase(found, "tls") == SECRET
    assert find_passphrase(found, "other") == "x"
    monkeypatch.setenv("SECRETS", f"[{SECRET}")
    with pytest.raises(ConfigError) as caught:
        find_passphrase(found, "tls")
    assert SECRET not in str(caught.value)
    assert str(caught.value).startswith("environment variable SECRETS:1:2: not valid JSON")


@pytest.mark.covers("SecdistProviderOptions.inline")
def test_secrets_in_the_config_itself_are_not_shown(tmp_path: Path) -> None:
    inline = {"passphrases": {"tls": SECRET}}
    assert passphrase(tmp_path, inline=inline) == SECRET
    found = service(tmp_path, inline=inline)
    assert SECRET not in repr(found)
    assert ("components_manager", "components", PROVIDER, "inline") in [
        s.path for s in found.settings
    ]
    write(tmp_path, {"passphrases": {"tls": "old"}})
    assert passphrase(tmp_path, inline=inline, config="secdist.json") == SECRET


@pytest.mark.covers("SecdistProviderOptions.missing-ok")
def test_a_file_may_be_missing_if_the_config_says_so(tmp_path: Path) -> None:
    assert refusal(tmp_path, config="secdist.json") == (
        "secdist.json: cannot be read: No such file or directory"
    )
    inline = {"passphrases": {"tls": SECRET}}
    assert passphrase(tmp_path, config="secdist.json", missing_ok=True, inline=inline) == SECRET
    (tmp_path / "secdist.json").mkdir()
    assert refusal(tmp_path, config="secdist.json", missing_ok=True) == (
        "secdist.json: expected a regular file"
    )


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (
            {"passphrases": {"b": SECRET, "a": SECRET}},
            "secdist: passphrases.tls: there is no such passphrase; secdist.json has only a, b",
        ),
        ({}, "secdist: passphrases.tls: there is no such passphrase; secdist.json has none"),
        (
            {"passphrases": {"tls": 12345}},
            "secdist.json:1:25: passphrases.tls: expected a string, in quotes",
        ),
        (
            {"passphrases": [SECRET]},
            "secdist.json:1:17: passphrases: expected a mapping of passphrases by name",
        ),
        ([SECRET], "secdist.json:1:1: expected an object of variables"),
        (f'{{"passphrases": {SECRET}', "secdist.json:1:17: not valid JSON: expecting value"),
        (
            '{"passphrases": {"tls": "a", "tls": "b"}}',
            "secdist.json:1:30: passphrases.tls: given twice",
        ),
    ],
)
def test_what_is_wrong_is_said(content: Any, told: str, tmp_path: Path) -> None:
    write(tmp_path, content)
    assert refusal(tmp_path, config="secdist.json") == told


def test_yaml_that_is_no_mapping(tmp_path: Path) -> None:
    write(tmp_path, f"- {SECRET}\n", "secdist.yaml")
    assert refusal(tmp_path, config="secdist.yaml", format="yaml") == (
        "secdist.yaml:1:1: expected a mapping with passphrases"
    )


def test_no_source_has_nothing(tmp_path: Path) -> None:
    assert refusal(tmp_path) == (
        "secdist: passphrases.tls: there is no such passphrase; secdist, without sources, has none"
    )
    assert "without sources, has none" in refusal(tmp_path, config="")


@pytest.mark.parametrize("sections", [{}, {"secdist": {}}])
def test_a_name_without_the_section_is_told_where_it_stands(
    sections: dict[str, Any], tmp_path: Path
) -> None:
    text = "needs the section default-secdist-provider, which says where passphrases are"
    listener: dict[str, Any] = {"port": 1, "tls": TLS}
    assert f"server.listener.tls.private-key-passphrase-name: {text}" in mistakes(
        config(listener, **sections), tmp_path
    )
    unnamed = {"cert": "a.crt", "private-key": "a.key"}
    listener = {"ports": [{"port": 1, "tls": {**unnamed, "certificates": [unnamed, TLS]}}]}
    place = "server.listener.ports[0].tls.certificates[1].private-key-passphrase-name"
    assert f"{place}: {text}" in mistakes(config(listener, **sections), tmp_path)
    assert load(config({"port": 1, "tls": unnamed}, **sections), tmp_path).secdist is None


@pytest.mark.covers("SecdistOptions.load-enabled")
@pytest.mark.covers("SecdistProviderOptions.load-enabled")
def test_a_section_that_is_not_enabled_is_not_there(tmp_path: Path) -> None:
    on, off = options(load_enabled=True), options(load_enabled=False)
    for secdist, provider, is_there in ((on, on, True), (on, off, False), (off, on, False)):
        text = config({"port": 1}, secdist=secdist, default_secdist_provider=provider)
        assert (load(text, tmp_path).secdist is not None) is is_there


@pytest.mark.covers("SecdistOptions.provider")
def test_another_provider_is_a_mistake(tmp_path: Path) -> None:
    text = config({"port": 1}, secdist=options(provider="vault"))
    told = "secdist.provider: expected 'default-secdist-provider', got 'vault'"
    assert told in mistakes(text, tmp_path)


def test_a_secret_in_the_wrong_place_is_not_told(tmp_path: Path) -> None:
    text = config({"port": 1}, default_secdist_provider={"inline": SECRET})
    told = mistakes(text, tmp_path)
    assert "default-secdist-provider.inline: expected a mapping" in told
    assert SECRET not in told


def test_what_only_userver_has_is_told(tmp_path: Path) -> None:
    sections = {
        "secdist": {"update-period": "10s"},
        "default_secdist_provider": {"blocking-task-processor": "fs-task-processor"},
    }
    (warning,) = load(config({"port": 1}, **sections), tmp_path).warnings
    assert warning.endswith(
        "without effect: default-secdist-provider.blocking-task-processor, secdist.update-period"
    )


def test_defaults_are_those_of_an_empty_section(tmp_path: Path) -> None:
    assert service(tmp_path).secdist == SecdistProviderOptions()
