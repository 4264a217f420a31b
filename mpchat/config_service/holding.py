"""What the config service has said so far, and what an answer makes of it.

Rules. Nothing here changes: an answer makes a new set, which the caller holds once it is in force. A name
that is not in the set has its static default, from the code or a file.
"""

from __future__ import annotations

import json
from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Any

from mpchat.config_service.answer import Answer, shown
from mpchat.config_service.errors import UpdateFailed
from mpchat.config_service.options import Deduplication


@dataclass(frozen=True)
class Held:
    """The values of all answers, and the time of the last one, as the service wrote it."""

    values: Mapping[str, Any]
    updated_at: str


@dataclass(frozen=True)
class Merged:
    """What an answer makes of what was held."""

    held: Held
    changed: bool
    """Whether its values are to be applied"""


def take_full(
    held: Held | None, answer: Answer, known: Container[str], deduplicate: Deduplication
) -> Merged:
    """Return what a full answer makes of what was held, which it replaces.

    ``known`` are the names that have a static default.

    Raises:
        UpdateFailed: A name is to have its static default, and has none.
    """
    values = dict(answer.configs)
    _switch_off(values, answer, known)
    follows = deduplicate in {"only-full", "full-and-incremental"}
    changed = held is None or not (follows and _same(values, held.values))
    return Merged(Held(values, answer.updated_at), changed)


def take_incremental(
    held: Held, answer: Answer, known: Container[str], deduplicate: Deduplication
) -> Merged:
    """Return what an incremental answer makes of what was held.

    An answer older than what is held, by the order of the characters in its time, is dropped.

    Raises:
        UpdateFailed: As ``take_full``.
    """
    # Strings compare by code points, whose order is that of their bytes in UTF-8.
    if answer.updated_at < held.updated_at:
        return Merged(held, changed=False)
    values = {**held.values, **answer.configs}
    for name in answer.removed:
        values.pop(name, None)
    _switch_off(values, answer, known)
    says_nothing = not answer.configs and not answer.removed
    follows = says_nothing or deduplicate in {"only-incremental", "full-and-incremental"}
    changed = not (follows and _same(values, held.values))
    return Merged(Held(values, answer.updated_at), changed)


def _switch_off(values: dict[str, Any], answer: Answer, known: Container[str]) -> None:
    for name in answer.disabled:
        if name not in known:
            text = "expected variables that have a static default here"
            raise UpdateFailed(f"the answer's kill_switches_disabled: {text}, got {shown(name)}")
        values.pop(name, None)


def _same(values: Mapping[str, Any], others: Mapping[str, Any]) -> bool:
    """Whether these are the same JSON; to Python, 1, 1.0 and true are equal."""
    return json.dumps(values, sort_keys=True) == json.dumps(others, sort_keys=True)
