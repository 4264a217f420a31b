"""The types of options, and the base of all option models.

Rules. Strict: `'4'` is not an integer, `1` is not a bool, `yes` is what YAML says it is. Durations are
userver's strings; sizes are bytes.
"""

from __future__ import annotations

import os
import re
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationInfo,
)
from pydantic_core import PydanticCustomError

MAX_INT = 2**31 - 1
"""Largest number of an option: that of a C int, as the kernel takes it."""
MAX_DEPTH = 100
"""Levels of nested mappings and lists in a config file."""

_MAX_DURATION = 3650 * 86400.0
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(\d+)(ms|s|m|h|d)")


def parse_duration(value: Any) -> float:
    """Return seconds for ``500ms``, ``10s``, ``1m``, ``1h``, ``1d`` (userver's durations)."""
    found = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise PydanticCustomError("duration", "expected a duration such as 500ms, 10s or 1m")
    digits = found[1].lstrip("0")
    seconds = int(digits or 0) * _UNITS[found[2]] if len(digits) < 20 else _MAX_DURATION + 1
    if seconds > _MAX_DURATION:
        raise PydanticCustomError("duration", "expected a duration of at most 3650d")
    return seconds


def format_duration(seconds: float) -> str:
    """Return a duration as a config would have it, in its largest unit without a fraction."""
    milliseconds = round(seconds * 1000)
    if not milliseconds:
        return "0s"
    units = [(round(size * 1000), name) for name, size in _UNITS.items()]
    size, name = next(item for item in reversed(units) if milliseconds % item[0] == 0)
    return f"{milliseconds // size}{name}"


Duration = Annotated[
    float,
    BeforeValidator(parse_duration, json_schema_input_type=str),
    PlainSerializer(format_duration, return_type=str, when_used="json"),
]
"""Seconds, written as userver writes durations."""
ByteSize = Annotated[int, Field(ge=0, le=MAX_INT)]
"""A number of bytes."""
Count = Annotated[int, Field(ge=0, le=MAX_INT)]
"""A number of things."""
Port = Annotated[int, Field(ge=0, le=65535)]
"""A TCP port; 0 lets the system choose one."""


def _beside_config(path: str, info: ValidationInfo) -> str:
    folder = info.context["folder"] if info.context else ""
    return os.path.join(folder, path)


ConfigPath = Annotated[str, AfterValidator(_beside_config)]
"""A path; a relative one is relative to the folder of the static config, as in our own options."""


class OptionsModel(BaseModel):
    """Base of all options: strict types, no unknown options, immutable."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)
