"""The component list: the classes of a service, by the names of their sections."""

from __future__ import annotations

from collections.abc import Iterator

from mpchat.components.component import Component


class ComponentList:
    """An ordered list of component classes (userver's ComponentList).

    A class without a section in the static config is left out, with a warning; a section without a
    class is an error.
    """

    def __init__(self) -> None:
        self._classes: dict[str, type[Component]] = {}

    def append(self, cls: type[Component], name: str | None = None) -> ComponentList:
        """Add a class under its own or another name, and return the list for the next one.

        Raises:
            TypeError: ``cls`` is not derived from Component, or has no name.
            ValueError: The name is taken.
        """
        if not (isinstance(cls, type) and issubclass(cls, Component)):
            raise TypeError(f"expected a class derived from Component, got {cls!r}")
        name = name or getattr(cls, "name", None)
        if name is None:
            text = f"{cls.__name__} has no name: add `name = ...`, its section in the static config"
            raise TypeError(text)
        if name in self._classes:
            raise ValueError(f"a component named {name} is already in the list")
        self._classes[name] = cls
        return self

    def items(self) -> Iterator[tuple[str, type[Component]]]:
        """Return names and classes in order."""
        return iter(self._classes.items())
