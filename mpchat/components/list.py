"""The component list: the classes of a service, by the names of their sections."""

from __future__ import annotations

import importlib
from collections.abc import Container, Iterator

from mpchat.components.component import Component


class ComponentList:
    """An ordered list of component classes (userver's ComponentList).

    A class without a section in the static config is left out, with a warning; a section without a
    class is an error.
    """

    def __init__(self) -> None:
        # A class that is imported on demand is the name of its module and its own.
        self._classes: dict[str, type[Component] | tuple[str, str]] = {}

    def append(self, cls: type[Component], name: str | None = None) -> ComponentList:
        """Add a class under its own or another name, and return the list for the next one.

        Raises:
            TypeError: ``cls`` is not derived from Component, or has no name.
            ValueError: The name is taken, and not by a class that is only imported on demand.
        """
        if not (isinstance(cls, type) and issubclass(cls, Component)):
            raise TypeError(f"expected a class derived from Component, got {cls!r}")
        name = name or getattr(cls, "name", None)
        if name is None:
            text = f"{cls.__name__} has no name: add `name = ...`, its section in the static config"
            raise TypeError(text)
        known = self._classes.get(name)
        if known is not None and not isinstance(known, tuple):
            raise ValueError(f"a component named {name} is already in the list")
        self._classes[name] = cls
        return self

    def append_on_demand(self, name: str, module: str, cls: str) -> ComponentList:
        """Add a class that is imported only if the config has its section, and return the list.

        For classes that few services need: the others pay neither time nor memory for them. The class
        counts as one with ``section_optional``.
        """
        self._classes.setdefault(name, (module, cls))
        return self

    def names(self) -> list[str]:
        """Return the names in order."""
        return [*self._classes]

    def items(
        self, sections: Container[str] | None = None
    ) -> Iterator[tuple[str, type[Component]]]:
        """Return names and classes in order.

        Of those that are imported on demand only such with one of these sections; None: all.
        """
        for name, found in self._classes.items():
            if not isinstance(found, tuple):
                yield name, found
            elif sections is None or name in sections:
                yield name, getattr(importlib.import_module(found[0]), found[1])
