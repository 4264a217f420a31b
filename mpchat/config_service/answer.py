"""What the config service answers: JSON bytes to an Answer, or the reason why they are none.

Rules. Strict about what userver's client reads, silent about other fields. What JSON's grammar allows and
readers take differently is refused: names given twice, numbers too large for a float, deep nesting. Every
mistake is the service's, so its text says where in the answer it is.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from mpchat.config.types import MAX_DEPTH
from mpchat.config_service.errors import UpdateFailed

_MAX_SHOWN = 60


@dataclass(frozen=True)
class Answer:
    """One answer, of the right types."""

    configs: Mapping[str, Any]
    updated_at: str
    removed: tuple[str, ...] = ()
    disabled: tuple[str, ...] = ()
    """Names of ``kill_switches_disabled``: they have their static defaults"""


def parse(content: bytes) -> Answer:
    """Return the answer in a response's body.

    Raises:
        UpdateFailed: It is not what a config service answers.
    """
    fields = _object(content)
    configs = fields.get("configs")
    if not isinstance(configs, dict):
        raise _wrong("configs", "an object of variables", configs)
    updated_at = fields.get("updated_at")
    if not isinstance(updated_at, str):
        raise _wrong("updated_at", "a string", updated_at)
    return Answer(
        configs, updated_at, _names(fields, "removed"), _names(fields, "kill_switches_disabled")
    )


def _object(content: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(
            content.decode(),
            object_pairs_hook=_unique,
            parse_constant=_no_number,
            parse_float=_finite,
        )
    except UnicodeDecodeError as error:
        raise UpdateFailed(f"the answer is not UTF-8 at byte {error.start}") from error
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise UpdateFailed(f"the answer is not JSON: {error.msg} at {place}") from error
    except RecursionError as error:
        raise _too_deep() from error
    except ValueError as error:
        # One of ours below, or Python's, which takes no integer of thousands of digits.
        raise UpdateFailed(f"the answer is not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise UpdateFailed(f"the answer: expected an object, got {shown(fields)}")
    _check_depth(fields)
    return fields


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _value in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{shown(repeated)} is given twice")
    return found


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a number of JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:20]} is too large a number")
    return number


def _check_depth(fields: dict[str, Any]) -> None:
    """Refuse what processes with less stack, or other parsers, could not read any more."""
    level: list[Any] = [fields]
    for _depth in range(MAX_DEPTH):
        level = [
            inner
            for value in level
            for inner in (value.values() if isinstance(value, dict) else value)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return
    raise _too_deep()


def _names(fields: dict[str, Any], field: str) -> tuple[str, ...]:
    names = fields.get(field)
    if names is None:
        return ()
    if not isinstance(names, list):
        raise _wrong(field, "a list of names", names)
    for number, name in enumerate(names):
        if not isinstance(name, str):
            raise _wrong(f"{field}[{number}]", "a name", name)
    return tuple(names)


def shown(value: Any) -> str:
    """Return what the service has sent as JSON, on one line, shortened."""
    text = json.dumps(value)
    return text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 1] + "…"


def _wrong(field: str, expected: str, found: Any) -> UpdateFailed:
    return UpdateFailed(f"the answer's {field}: expected {expected}, got {shown(found)}")


def _too_deep() -> UpdateFailed:
    return UpdateFailed(f"the answer is nested too deeply: {MAX_DEPTH} levels are allowed")
