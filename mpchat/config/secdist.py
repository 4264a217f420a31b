"""The sections ``secdist`` and ``default-secdist-provider``: where userver's services have their secrets.

Rules. mpchat takes passphrases of private keys from there, and nothing else. Names and defaults are
userver's.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import BeforeValidator, Field, Secret

from mpchat.config.types import ConfigPath, OptionsModel

SECDIST: Final = "secdist"
PROVIDER: Final = "default-secdist-provider"

LoadEnabled: TypeAlias = Annotated[
    bool, Field(alias="load-enabled", description="false: as if the section were not there")
]


def _none(value: Any) -> Any:
    """Return what an empty path means: none."""
    return None if value == "" else value


def _mapping(value: Any) -> Any:
    if value is None or isinstance(value, dict):
        return value
    # The text of pydantic would repeat the secret.
    raise ValueError("expected a mapping")


class SecdistOptions(OptionsModel):
    """Section ``secdist``: what knows the secrets."""

    load_enabled: LoadEnabled = True
    provider: Annotated[
        Literal["default-secdist-provider"],
        Field(description="The section that says where they are; mpchat has this one"),
    ] = PROVIDER


class SecdistProviderOptions(OptionsModel):
    """Section ``default-secdist-provider``: where the secrets are; passphrases are below `passphrases`.

    A later source adds to an earlier one, and overrides it: ``config``, ``inline``, the environment. All
    are read when the service starts, and again at each reload.
    """

    load_enabled: LoadEnabled = True
    config: Annotated[
        Annotated[ConfigPath | None, BeforeValidator(_none, json_schema_input_type=str | None)],
        Field(description='A file such as `{"passphrases": {"NAME": "…"}}`'),
    ] = None
    format: Annotated[
        Literal["json", "yaml", "yaml_config"],
        Field(description="Of that file; yaml_config is YAML with `#env`, `#file` and `#fallback`"),
    ] = "json"
    missing_ok: Annotated[
        bool, Field(alias="missing-ok", description="Whether there may be no such file")
    ] = False
    inline: Annotated[
        Annotated[
            Secret[dict[str, Any]] | None,
            BeforeValidator(_mapping, json_schema_input_type=dict[str, Any] | None),
        ],
        Field(description="Secrets in the config itself; better by `inline#file`"),
    ] = None
    environment_secrets_key: Annotated[
        str | None,
        Field(
            alias="environment-secrets-key",
            description="An environment variable with more of them, in JSON",
        ),
    ] = None
