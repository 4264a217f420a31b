"""Changes to the dynamic config of a running service, in its file or by a config service.

Rules. A change is in force in every worker when it returns. One that the service refuses is taken back.
"""

from __future__ import annotations

import copy
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from mpchat.testsuite.configs_service import MockConfigsService
from mpchat.testsuite.service import Service


class UseStaticDefault:
    """The type of USE_STATIC_DEFAULT."""

    def __repr__(self) -> str:
        return "USE_STATIC_DEFAULT"


USE_STATIC_DEFAULT: Final = UseStaticDefault()
"""In the place of a value: the variable has its default, whatever the dynamic config says."""
_MISSING: Final = object()


def switch(
    values: Mapping[str, Any], switched_off: Mapping[str, Any], changes: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return values, and those set aside while the default applies, as changes make them."""
    new, aside = dict(values), dict(switched_off)
    for name, value in changes.items():
        if value is USE_STATIC_DEFAULT:
            aside[name] = new.pop(name, aside.get(name, _MISSING))
        else:
            new[name] = copy.deepcopy(value)
            aside.pop(name, None)
    return new, aside


class DynamicConfig(ABC):
    """The variables of the service under test, with the methods of userver's fixture.

    When a change returns, every worker uses it.
    """

    def __init__(self, switched_off: Mapping[str, Any] | None = None) -> None:
        """Begin with the variables that have their defaults, with their values."""
        self._switched_off = dict(switched_off or {})

    def get(self, name: str, default: Any = _MISSING) -> Any:
        """Return the value that is set.

        Raises:
            KeyError: None is, or the static default applies, and no default was given.
        """
        values = self._values()
        return values[name] if default is _MISSING else values.get(name, default)

    def set(self, **values: Any) -> None:
        """Set variables; a value may be USE_STATIC_DEFAULT.

        Raises:
            ValueError: The service refused them; the text says why. Nothing is changed.
        """
        self.set_values(values)

    def set_values(self, values: dict[str, Any]) -> None:
        """Set variables by a mapping; raises like ``set``."""
        self._change(*switch(self._values(), self._switched_off, values))

    def remove(self, name: str) -> None:
        """Remove a variable, so that its default applies.

        Raises:
            KeyError: It has no value.
        """
        values = self._values()
        if name not in self._switched_off:
            del values[name]
        aside = {other: value for other, value in self._switched_off.items() if other != name}
        self._change(values, aside)

    @contextmanager
    def modify(self, name: str) -> Iterator[Any]:
        """Yield a value for changes in place, and set it at the end of the block."""
        with self.modify_many(name) as (value,):
            yield value

    @contextmanager
    def modify_many(self, *names: str) -> Iterator[tuple[Any, ...]]:
        """Yield several values for changes in place, and set them together."""
        values = tuple(self.get(name) for name in names)
        yield values
        self.set_values(dict(zip(names, values, strict=True)))

    def switch_to_static_default(self, *names: str) -> None:
        """Have variables use their defaults, and keep their values for later."""
        self.set_values(dict.fromkeys(names, USE_STATIC_DEFAULT))

    def switch_to_dynamic_value(self, *names: str) -> None:
        """Have variables use their values again; one that has none keeps its default."""
        values, aside = self._values(), dict(self._switched_off)
        for name in names:
            value = aside.pop(name, _MISSING)
            if value is not _MISSING:
                values[name] = value
        self._change(values, aside)

    def _change(self, values: dict[str, Any], switched_off: dict[str, Any]) -> None:
        self._apply(values, switched_off.keys())
        self._switched_off = switched_off

    @abstractmethod
    def _values(self) -> dict[str, Any]:
        """Return a copy of all values but those that are switched off."""

    @abstractmethod
    def _apply(self, values: dict[str, Any], disabled: Collection[str]) -> None:
        """Have the service use these values, and defaults for all else; raises like ``set``."""


class FileDynamicConfig(DynamicConfig):
    """Changes the file of the dynamic config, which the service then reads again."""

    def __init__(
        self, service: Service, path: Path, switched_off: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(switched_off)
        self._service = service
        self._path = path

    def _values(self) -> dict[str, Any]:
        values: dict[str, Any] = json.loads(self._path.read_text())
        return values

    def _apply(self, values: dict[str, Any], disabled: Collection[str]) -> None:
        before = self._path.read_text()
        self._path.write_text(json.dumps(values, indent=2))
        status = self._service.reload()
        if "failed" in status:
            self._path.write_text(before)
            raise ValueError(status)


class ServedDynamicConfig(DynamicConfig):
    """Changes the values of the config service that the service under test follows."""

    def __init__(
        self,
        configs_service: MockConfigsService,
        values: Mapping[str, Any],
        refusal: Callable[[], str | None],
        switched_off: Mapping[str, Any] | None = None,
    ) -> None:
        """``refusal`` returns why the service under test refused its last update, None if it did not."""
        super().__init__(switched_off)
        self._configs_service = configs_service
        self._served = dict(values)
        self._refusal = refusal

    def _values(self) -> dict[str, Any]:
        return copy.deepcopy(self._served)

    def _apply(self, values: dict[str, Any], disabled: Collection[str]) -> None:
        self._configs_service.commit(values, disabled)
        try:
            self._configs_service.wait_taken(self._refusal)
        except ValueError:
            self._configs_service.commit(self._served, self._switched_off.keys())
            self._configs_service.wait_taken(lambda: None)
            raise
        self._served = values
