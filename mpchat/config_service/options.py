"""The sections ``dynamic-config-client`` and ``dynamic-config-client-updater``, and what they come to.

Rules. This file needs none of the client's libraries, so that every config can be checked. Names,
defaults and combinations are userver's; its options without a counterpart here are in userver_names.json.
Ours are ``token`` and ``max-answer-size``.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self, TypeAlias
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator
from pydantic_core import PydanticCustomError

from mpchat.config.types import ByteSize, ConfigPath, Count, Duration, OptionsModel
from mpchat.errors import ConfigError, Problem

PATH = "/configs/values"
"""What ``append-path-to-url`` appends"""

UpdateTypes: TypeAlias = Literal["full-and-incremental", "only-full", "only-incremental"]
Deduplication: TypeAlias = Literal["none", "only-full", "only-incremental", "full-and-incremental"]

_JITTER = 10
"""A jitter is by default this part of its interval."""


def _check_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        # The system encodes a host name the same way.
        valid = parts.scheme in {"http", "https"} and bool((parts.hostname or "").encode("idna"))
        valid = valid and parts.port != 0 and all("!" <= char <= "~" for char in url)
    except ValueError:
        valid = False
    if not valid:
        raise PydanticCustomError("url", "expected a URL such as http://127.0.0.1:8083")
    if parts.username is not None or parts.password is not None:
        # Its text does not repeat the password.
        raise ValueError("expected a URL without a name and a password: use token")
    return url


def _check_token(token: SecretStr) -> SecretStr:
    text = token.get_secret_value()
    if not text or not all("!" <= char <= "~" for char in text):
        # Its text does not repeat the token.
        raise ValueError("expected a secret of visible ASCII characters, which a header can carry")
    return token


def _positive(value: float) -> float:
    if value <= 0:
        raise PydanticCustomError("interval", "expected more than 0s")
    return value


def _none(value: Any) -> Any:
    """Return what an empty stage means: none."""
    return None if value == "" else value


Interval: TypeAlias = Annotated[Duration, AfterValidator(_positive)]
LoadEnabled: TypeAlias = Annotated[
    bool, Field(alias="load-enabled", description="false: as if the section were not there")
]


class ClientOptions(OptionsModel):
    """Section ``dynamic-config-client``: where the config service is, and how it is asked."""

    config_url: Annotated[
        Annotated[str, AfterValidator(_check_url)],
        Field(
            alias="config-url",
            description="The config service, such as http://127.0.0.1:8083; `https` is checked against "
            "the system's certificates",
        ),
    ]
    service_name: Annotated[
        str,
        Field(alias="service-name", min_length=1, description="What this service is called there"),
    ]
    http_timeout: Annotated[
        Interval, Field(alias="http-timeout", description="Time for each attempt")
    ]
    http_retries: Annotated[
        Count, Field(alias="http-retries", description="Attempts for an update in all; 0: one")
    ]
    append_path_to_url: Annotated[
        bool,
        Field(
            alias="append-path-to-url",
            description=f"Whether {PATH} is appended to config-url, as it stands",
        ),
    ] = True
    get_configs_overrides_for_service: Annotated[
        bool,
        Field(
            alias="get-configs-overrides-for-service",
            description="Whether service-name is sent, for values of this service's own; false with a "
            "stage",
        ),
    ] = True
    configs_stage: Annotated[
        Annotated[str | None, BeforeValidator(_none, json_schema_input_type=str | None)],
        Field(
            alias="configs-stage",
            description="The stage, such as testing, whose values are asked for",
        ),
    ] = None
    configs_stage_filepath: Annotated[
        ConfigPath | None,
        Field(
            alias="configs-stage-filepath",
            description='A JSON file with the stage, `{"env_name": "testing"}`, instead of '
            "configs-stage; read at the start",
        ),
    ] = None
    token: Annotated[
        Annotated[SecretStr, AfterValidator(_check_token)] | None,
        Field(
            description="A secret, by `token#env` or `token#file`, sent as `Authorization: Bearer TOKEN`"
        ),
    ] = None
    max_answer_size: Annotated[
        ByteSize,
        Field(
            ge=1,
            alias="max-answer-size",
            description="Largest answer, unpacked; a larger one is refused",
        ),
    ] = 16 * 1024 * 1024
    load_enabled: LoadEnabled = True

    @model_validator(mode="after")
    def _stage_or_overrides(self) -> Self:
        staged = {self.configs_stage, self.configs_stage_filepath} != {None}
        if staged and self.get_configs_overrides_for_service:
            text = "a stage needs get-configs-overrides-for-service: false"
            raise PydanticCustomError("stage", text)
        return self

    @property
    def url(self) -> str:
        """Where updates are asked for."""
        return self.config_url + (PATH if self.append_path_to_url else "")

    def stage(self, read: Callable[[str], str]) -> str | None:
        """Return the stage, with a file of it read by ``read``.

        Raises:
            ConfigError: The file cannot be read, or has no stage.
        """
        path = self.configs_stage_filepath
        if path is None:
            return self.configs_stage
        try:
            content = json.loads(read(path))
        except (ValueError, RecursionError) as error:
            raise ConfigError([Problem(path, 0, 0, "", f"expected JSON: {error}")]) from error
        stage = content.get("env_name") if isinstance(content, dict) else None
        if not isinstance(stage, str) or not stage:
            text = 'expected the stage, such as {"env_name": "testing"}'
            raise ConfigError([Problem(path, 0, 0, "", text)])
        return stage


class UpdaterOptions(OptionsModel):
    """Section ``dynamic-config-client-updater``: when the config service is asked, and for what."""

    updates_sink: Annotated[
        Literal["dynamic-config"],
        Field(alias="updates-sink", description="Where values go: always dynamic-config"),
    ] = "dynamic-config"
    store_enabled: Annotated[
        bool,
        Field(
            alias="store-enabled",
            description="false: values are fetched and written to the cache file, and not applied",
        ),
    ] = True
    load_only_my_values: Annotated[
        bool,
        Field(
            alias="load-only-my-values",
            description="Whether the service is asked only for variables that this one knows or has "
            "defaults for; false: for all",
        ),
    ] = True
    deduplicate_update_types: Annotated[
        Deduplication,
        Field(
            alias="deduplicate-update-types",
            description="Updates that change nothing when their values are those that are held: nothing "
            "is applied or written",
        ),
    ] = "full-and-incremental"
    config_settings: Annotated[
        bool,
        Field(
            alias="config-settings",
            description="Whether USERVER_CACHES changes these options; has to be false",
        ),
    ] = True
    first_update_fail_ok: Annotated[
        bool,
        Field(
            alias="first-update-fail-ok",
            description="Whether the start goes on without a first update, which needs a cache or "
            "fallback file; has to be true",
        ),
    ] = False
    update_interval: Annotated[
        Interval, Field(alias="update-interval", description="Time between updates")
    ]
    full_update_interval: Annotated[
        Interval | None,
        Field(
            alias="full-update-interval",
            description="Time between full updates; those between them are incremental",
        ),
    ] = None
    update_types: Annotated[
        UpdateTypes | None,
        Field(
            alias="update-types",
            description="By default full-and-incremental with full-update-interval, else only-full. The "
            "first update is always full",
        ),
    ] = None
    update_jitter: Annotated[
        Duration | None,
        Field(
            alias="update-jitter",
            description="Largest random part, either way, of a time between updates, at most that time; "
            "by default a tenth of update-interval",
        ),
    ] = None
    full_update_jitter: Annotated[
        Duration | None,
        Field(
            alias="full-update-jitter",
            description="The same for full updates; by default a tenth of full-update-interval",
        ),
    ] = None
    exception_interval: Annotated[
        Interval | None,
        Field(
            alias="exception-interval",
            description="Time until the next update after one that failed; by default update-interval",
        ),
    ] = None
    updates_enabled: Annotated[
        bool,
        Field(
            alias="updates-enabled", description="false: nothing is fetched, not even at the start"
        ),
    ] = True
    load_enabled: LoadEnabled = True

    @model_validator(mode="after")
    def _fixed(self) -> Self:
        if self.config_settings:
            text = "config-settings has to be false: USERVER_CACHES cannot change these options"
            raise PydanticCustomError("fixed", text)
        if not self.first_update_fail_ok:
            text = (
                "first-update-fail-ok has to be true: without a first update, the service starts with a "
                "cache or fallback file"
            )
            raise PydanticCustomError("fixed", text)
        return self

    @model_validator(mode="after")
    def _intervals(self) -> Self:
        both = self.update_types == "full-and-incremental"
        if both and self.full_update_interval is None:
            text = "full-and-incremental needs full-update-interval"
            raise PydanticCustomError("intervals", text)
        if not both and self.update_types is not None and self.full_update_interval is not None:
            text = f"{self.update_types} has no full-update-interval: leave one of the two out"
            raise PydanticCustomError("intervals", text)
        return self

    @property
    def types(self) -> UpdateTypes:
        """What kinds of updates there are."""
        if self.update_types is not None:
            return self.update_types
        return "only-full" if self.full_update_interval is None else "full-and-incremental"

    @property
    def jitter(self) -> float:
        """Seconds of ``update-jitter``."""
        given = self.update_jitter
        return self.update_interval / _JITTER if given is None else given

    @property
    def full_jitter(self) -> float:
        """Seconds of ``full-update-jitter``."""
        given = self.full_update_jitter
        return (self.full_update_interval or 0) / _JITTER if given is None else given


@dataclass(frozen=True)
class ConfigServicePlan:
    """The config service of a service whose config has sections for it."""

    client: ClientOptions
    updater: UpdaterOptions
    ids: tuple[str, ...]
    """Names of the variables that are declared or have a default in a file"""
    stage: str | None = None
    cache_path: str | None = None
