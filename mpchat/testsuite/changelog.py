"""The values of a config service as they change: what a client has to be told since its last answer.

Rules. A commit is the whole state. It has a time of its own, a second after the one before, from
1970-01-01T00:00:00Z, so that tests know it in advance. What changes and changes back is no change.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any


@dataclass(frozen=True)
class Updates:
    """What an answer says; the names are those of its fields."""

    timestamp: str
    """``updated_at``"""
    values: dict[str, Any]
    """``configs``"""
    removed: list[str]
    kill_switches_disabled: list[str]


@dataclass(frozen=True)
class _State:
    values: dict[str, Any]
    disabled: frozenset[str]


class Changelog:
    """All states since the first one."""

    def __init__(self, values: Mapping[str, Any], disabled: Collection[str] = ()) -> None:
        self._states: list[_State] = []
        self.commit(values, disabled)

    @property
    def timestamp(self) -> str:
        """The time of the newest state."""
        return _timestamp(len(self._states) - 1)

    def commit(self, values: Mapping[str, Any], disabled: Collection[str] = ()) -> str:
        """Make these all values there are, and return since when.

        ``disabled`` are variables that have no value here, because clients are to use their own defaults
        (``kill_switches_disabled``).
        """
        # What is no JSON value fails here, and not in the answer to a client.
        self._states.append(_State(json.loads(json.dumps(dict(values))), frozenset(disabled)))
        return self.timestamp

    def get_updated_since(self, updated_since: str, ids: Collection[str] | None = None) -> Updates:
        """Return what has changed since a time, or everything if it is no commit's time.

        ``ids`` are the names that are asked for, all by default.
        """
        now = self._states[-1]
        times = (_timestamp(number) for number in range(len(self._states)))
        known = dict(zip(times, self._states, strict=True))
        then = known.get(updated_since, _State({}, frozenset()))

        def is_asked(name: str) -> bool:
            return ids is None or name in ids

        return Updates(
            timestamp=self.timestamp,
            values={
                name: copy.deepcopy(value)
                for name, value in now.values.items()
                if is_asked(name)
                and (name not in then.values or _differs(value, then.values[name]))
            },
            removed=sorted(
                name
                for name in {*then.values, *then.disabled} - {*now.values, *now.disabled}
                if is_asked(name)
            ),
            kill_switches_disabled=sorted(filter(is_asked, now.disabled - then.disabled)),
        )


def _differs(value: Any, other: Any) -> bool:
    # To Python, 1, 1.0 and True are equal.
    return json.dumps(value, sort_keys=True) != json.dumps(other, sort_keys=True)


def _timestamp(number: int) -> str:
    return f"{datetime.fromtimestamp(number, UTC):%Y-%m-%dT%H:%M:%SZ}"
