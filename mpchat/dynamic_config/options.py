"""The sections ``dynamic-config`` and ``dynamic-config-fallbacks`` of the static config."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from mpchat.config.types import OptionsModel


class DynamicConfigOptions(OptionsModel):
    """Section ``dynamic-config``: values below those of the fallback file."""

    defaults: Annotated[
        dict[str, Any] | None, Field(description="Values of variables, by name")
    ] = None
    defaults_path: Annotated[
        str | None,
        Field(
            alias="defaults-path", description="A JSON file of such values, read again on SIGHUP"
        ),
    ] = None
    updates_enabled: Annotated[
        bool,
        Field(
            alias="updates-enabled",
            description="Whether values may come from a config service: true with "
            "dynamic-config-client-updater",
        ),
    ] = False
    fs_cache_path: Annotated[
        str | None,
        Field(
            alias="fs-cache-path",
            description="The JSON file that keeps what is in force with the config service's values, for "
            "a start without it; by default, or if empty, there is none",
        ),
    ] = None
    load_enabled: Annotated[
        bool, Field(alias="load-enabled", description="False: the section is ignored")
    ] = True


class DynamicConfigFallbacksOptions(OptionsModel):
    """Section ``dynamic-config-fallbacks`` (the older spelling of ``defaults-path``)."""

    fallback_path: Annotated[
        str | None,
        Field(
            alias="fallback-path", description="The JSON file of variables, read again on SIGHUP"
        ),
    ] = None
    load_enabled: Annotated[
        bool, Field(alias="load-enabled", description="False: the section is ignored")
    ] = True
