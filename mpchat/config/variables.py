"""``$name`` in a static config: values from config_vars, the environment, files, or a fallback.

Rules (userver's yaml_config). An option whose value is ``$name`` takes the variable of that name. Without
the variable, ``option#env`` names an environment variable, ``option#file`` a file, and
``option#fallback`` is the value itself, in this order. Without any of them the option is missing, an
error only if it is required. A mistake in a variable is reported at the place that uses the variable.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from mpchat.config.yaml_file import Document, Path, problem, read_yaml
from mpchat.errors import ConfigError, Problem

SUFFIXES = ("#env", "#file", "#fallback")
_MISSING = object()


@dataclass(frozen=True)
class Variables:
    """The sources of ``$name``.

    Later ``documents`` override earlier ones; ``read`` returns a file's text or raises ConfigError.
    """

    documents: tuple[Document, ...]
    environment: Mapping[str, str]
    read: Callable[[str], str]

    def find(self, name: str) -> tuple[Any, str]:
        """Return a variable's value, or _MISSING, and its place in words."""
        for document in reversed(self.documents):
            if isinstance(document.value, dict) and name in document.value:
                line, column = document.places[name,]
                return document.value[name], f"${name} in {document.file}:{line}:{column}"
        return _MISSING, ""


def substitute(document: Document, variables: Variables) -> Document:
    """Return the document with every ``$name`` replaced.

    Its ``problems`` include files named by ``#file`` that cannot be read or are not YAML.
    """
    work = _Substitution(document, variables)
    value = work.value(document.value, ())
    found = [*document.problems, *work.problems]
    found += [mistake for source in variables.documents for mistake in source.problems]
    return Document(document.file, value, work.places, work.origins, work.undefined, tuple(found))


@dataclass
class _Substitution:
    document: Document
    variables: Variables
    places: dict[Path, tuple[int, int]] = field(init=False)
    origins: dict[Path, str] = field(default_factory=dict)
    undefined: dict[Path, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.places = dict(self.document.places)

    def value(self, value: Any, path: Path) -> Any:
        if isinstance(value, dict):
            return self._mapping(value, path)
        if isinstance(value, list):
            items = [self._item(item, (*path, index)) for index, item in enumerate(value)]
            return [item for item in items if item is not _MISSING]
        return value

    def _item(self, value: Any, path: Path) -> Any:
        if _is_variable(value):
            found, origin = self.variables.find(value[1:])
            self.origins[path] = origin
            return found
        return self.value(value, path)

    def _mapping(self, mapping: dict[str, Any], path: Path) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key, value in mapping.items():
            name = _without_suffix(key)
            if name != key:
                if name not in mapping:
                    self.places.setdefault((*path, name), self.document.places[*path, key])
                    self._take(result, name, _MISSING, mapping, path)
            elif _is_variable(value):
                self._take(result, key, value, mapping, path)
            else:
                result[key] = self.value(value, (*path, key))
        return result

    def _take(
        self, result: dict[str, Any], name: str, value: Any, mapping: dict[str, Any], path: Path
    ) -> None:
        found, origin = (_MISSING, "")
        if value is not _MISSING:
            found, origin = self.variables.find(value[1:])
        if found is _MISSING:
            found, origin = self._instead(name, mapping, path)
        if found is not _MISSING:
            result[name] = found
            if origin:
                self.origins[*path, name] = origin
        else:
            self.undefined[*path, name] = " and ".join(_reasons(name, value, mapping))

    def _instead(self, name: str, mapping: dict[str, Any], path: Path) -> tuple[Any, str]:
        variable = mapping.get(f"{name}#env")
        if variable is not None and str(variable) in self.variables.environment:
            text = self.variables.environment[str(variable)]
            return self._parse(text, f"environment variable {variable}", (*path, f"{name}#env"))
        file = mapping.get(f"{name}#file")
        if file is not None:
            where = os.path.join(os.path.dirname(self.document.file), str(file))
            try:
                text = self.variables.read(where)
            except ConfigError as error:
                self.problems += error.problems
                return _MISSING, ""
            return self._parse(text, where, (*path, f"{name}#file"))
        fallback = f"{name}#fallback"
        if fallback in mapping:
            line, column = self.places[*path, fallback]
            origin = f"{fallback} in {self.document.file}:{line}:{column}"
            return self.value(mapping[fallback], (*path, fallback)), origin
        return _MISSING, ""

    def _parse(self, text: str, origin: str, path: Path) -> tuple[Any, str]:
        """Read a value as YAML: `8080` is a number."""
        value = _MISSING
        try:
            document = read_yaml(text, origin)
            value, mistakes = document.value, document.problems
        except ConfigError as error:
            mistakes = error.problems
        self.problems += [
            problem(self.document, path, f"{origin}: {found.text}") for found in mistakes
        ]
        return (_MISSING, "") if mistakes else (value, origin)


def _reasons(name: str, value: Any, mapping: dict[str, Any]) -> Iterator[str]:
    """Return the reasons why an option has no value."""
    if value is not _MISSING:
        yield f"{value} is not defined"
    if f"{name}#env" in mapping:
        yield f"the environment variable {mapping[f'{name}#env']} is not set"
    if f"{name}#file" in mapping:
        yield f"the file {mapping[f'{name}#file']} cannot be used"


def _is_variable(value: Any) -> bool:
    return isinstance(value, str) and len(value) > 1 and value.startswith("$")


def _without_suffix(key: str) -> str:
    for suffix in SUFFIXES:
        if key.endswith(suffix):
            return key.removesuffix(suffix)
    return key
