"""A snapshot: one generation of the dynamic config, typed, complete, never changed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from mpchat.dynamic_config.keys import Key

T = TypeVar("T")


class Snapshot:
    """The dynamic config of one generation: all values belong together and never change.

    Attributes:
        generation: Its number: 1 at the start of the service, one more with each successful reload.
    """

    __slots__ = ("_keys", "_raw", "_typed", "generation")

    def __init__(
        self, generation: int, values: Mapping[str, Any], keys: Iterable[Key[Any]]
    ) -> None:
        """Make a snapshot of JSON values.

        Raises:
            pydantic.ValidationError: A value is not of its key's type (the template has checked them).
        """
        self.generation = generation
        self._keys = tuple(keys)
        self._raw = dict(values)
        self._typed = {
            key.name: key.validate(values[key.name]) for key in self._keys if key.name in values
        }

    def __getitem__(self, key: Key[T]) -> T:
        """Return a variable's value, of the key's type; without one in the config, the key's default."""
        value: T = self._typed.get(key.name, key.default)
        return value

    def raw(self, name: str) -> Any:
        """Return the JSON value of any variable, declared or not, by its name; None if absent."""
        return self._raw.get(name)

    def as_json(self) -> dict[str, Any]:
        """Return the JSON values of all variables; absent ones have their defaults."""
        return {key.name: key.default_json() for key in self._keys} | self._raw


def to_bytes(values: Mapping[str, Any], origins: Mapping[str, str]) -> bytes:
    """Return the form in which values, and where each comes from, travel between processes."""
    return json.dumps({"values": dict(values), "origins": dict(origins)}).encode()


def from_bytes(content: bytes) -> dict[str, Any]:
    """Return the values in ``to_bytes``."""
    values: dict[str, Any] = json.loads(content)["values"]
    return values


def origins_from_bytes(content: bytes) -> dict[str, str]:
    """Return where each of the values in ``to_bytes`` comes from."""
    origins: dict[str, str] = json.loads(content)["origins"]
    return origins
