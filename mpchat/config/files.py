"""The files that a command line names; light enough for the command's own process."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ConfigFiles:
    """The static config and the files of its variables (userver's options of these names)."""

    config: str
    config_vars: str | None = None
    config_vars_override: str | None = None
