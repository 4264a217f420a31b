"""Changes to the dynamic config of a running service."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mpchat.testsuite.service import Service

_MISSING = object()


class DynamicConfig:
    """The variables of the service under test, with the methods of userver's fixture.

    When a change returns, every worker uses it.
    """

    def __init__(self, service: Service, path: Path) -> None:
        self._service = service
        self._path = path

    def get(self, name: str, default: Any = _MISSING) -> Any:
        """Return the value in the file.

        Raises:
            KeyError: The file has no value, and no default was given.
        """
        values = self._values()
        return values[name] if default is _MISSING else values.get(name, default)

    def set(self, **values: Any) -> None:
        """Set variables.

        Raises:
            ValueError: The service refused them; the text says why. The file is unchanged.
        """
        self.set_values(values)

    def set_values(self, values: dict[str, Any]) -> None:
        """Set variables by a mapping; raises like ``set``."""
        self._apply({**self._values(), **values})

    def remove(self, name: str) -> None:
        """Remove a variable, so that its default applies.

        Raises:
            KeyError: The file has no value.
        """
        values = self._values()
        del values[name]
        self._apply(values)

    def _values(self) -> dict[str, Any]:
        values: dict[str, Any] = json.loads(self._path.read_text())
        return values

    def _apply(self, values: dict[str, Any]) -> None:
        before = self._path.read_text()
        self._path.write_text(json.dumps(values, indent=2))
        status = self._service.reload()
        if "failed" in status:
            self._path.write_text(before)
            raise ValueError(status)
