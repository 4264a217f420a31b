"""A key names one dynamic variable, its type and its default."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Key(Generic[T]):
    """A dynamic variable: ``RATE = Key("MY_RATE", int, default=10)``.

    Declare it in a component's ``dynamic_config_keys``; read it as ``context.config[RATE]`` in a
    handler, as ``self.config[RATE]`` in any component.

    Attributes:
        name: Its name in the dynamic config, in capitals; ``MPCHAT_…`` and ``USERVER_…`` are reserved.
        type: The value's type, any that pydantic knows, such as an OptionsModel or
            ``Annotated[int, Field(ge=1)]``. A file with an invalid value is refused as a whole.
        default: The value if the config has none. It is not validated.
    """

    name: str
    type: type[T] | Any
    default: T
    # Made with the key, before the fork, so that workers share it instead of each building one.
    _adapter: TypeAdapter[T] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not re.fullmatch("[A-Z][A-Z0-9_]*", self.name):
            text = "expected capitals, digits and underscores"
            raise ValueError(f"a dynamic variable cannot be called {self.name!r}: {text}")
        object.__setattr__(self, "_adapter", TypeAdapter(self.type))

    def validate(self, value: Any) -> T:
        """Return the typed value of a JSON value.

        As strict as JSON: a list may become a tuple and a string a date, but `"4"` is not a number.

        Raises:
            pydantic.ValidationError: The value is not of the key's type.
            TypeError: The value is not JSON (YAML has dates, for example).
        """
        return self._adapter.validate_json(json.dumps(value), strict=True)

    def default_json(self) -> Any:
        """Return the default as a JSON value."""
        return self._adapter.dump_python(self.default, mode="json", by_alias=True)
