"""YAML text to plain values, with the place of each of them.

Rules. PyYAML composes the node tree, which keeps line and column of every node; values come from its
safe constructor. Everything that is wrong with the text as YAML is a ConfigError: a syntax error, a
second document, keys that are repeated or not strings, tags, merge keys that name no mapping.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import yaml

from mpchat.errors import ConfigError, Problem

Path: TypeAlias = tuple[str | int, ...]
_ROOT = "components_manager"


@dataclass(frozen=True)
class Document:
    """The value of a file and where each part of it stands (line and column, from 1)."""

    file: str
    value: Any
    places: Mapping[Path, tuple[int, int]]
    origins: Mapping[Path, str] = field(default_factory=dict)
    """For values that a variable gave: which, and where"""
    undefined: Mapping[Path, str] = field(default_factory=dict)
    """Options that are missing because their variable is not defined"""
    problems: tuple[Problem, ...] = ()
    """Mistakes that leave the rest readable, such as a key given twice"""


def read_yaml(text: str, file: str) -> Document:
    """Parse one document; what is wrong with single keys or values is in its ``problems``.

    Raises:
        ConfigError: The text is not one YAML document.
    """
    loader = yaml.SafeLoader("")
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        reader = _Reader(loader, file)
        value = reader.read(node, ()) if node is not None else None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        what = error.problem or error.context or "not valid YAML"
        raise ConfigError([Problem(file, *place, "", f"not valid YAML: {what}")]) from error
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConfigError([Problem(file, 0, 0, "", f"not valid YAML: {reason}")]) from error
    except RecursionError as error:
        raise ConfigError([Problem(file, 0, 0, "", "nested too deeply")]) from error
    finally:
        loader.dispose()
    return Document(file, value, reader.places, problems=tuple(reader.problems))


def problem(document: Document, path: Path, text: str) -> Problem:
    """Make a Problem at a path, or at the nearest parent that has a place."""
    known = path
    while known and known not in document.places:
        known = known[:-1]
    line, column = document.places.get(known, (1, 1))
    for end in range(len(path), 0, -1):
        origin = document.origins.get(path[:end])
        if origin:
            text += f" ({origin})"
            break
    for missing, variable in document.undefined.items():
        if len(path) > 1 and missing[: len(path)] == path:
            text += f" ({dotted(missing[len(path) - 1 :])}: {variable} is not defined)"
    return Problem(document.file, line, column, dotted(path), text)


def dotted(path: Sequence[str | int]) -> str:
    """Return ``components.server.listener.port`` for the path of that option."""
    parts = path[1:] if path[:1] == (_ROOT,) and len(path) > 1 else path
    text = ""
    for part in parts:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.lstrip(".")


class _Reader:
    def __init__(self, loader: yaml.SafeLoader, file: str) -> None:
        self.loader = loader
        self.file = file
        self.places: dict[Path, tuple[int, int]] = {}
        self.problems: list[Problem] = []

    def read(self, node: yaml.Node, path: Path) -> Any:
        self.places[path] = _place(node)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.read(item, (*path, index)) for index, item in enumerate(node.value)]
        try:
            return self.loader.construct_object(node, deep=True)
        except (ValueError, LookupError, OverflowError, TypeError):
            # PyYAML's constructors trust that the text fits the tag.
            kind = node.tag.rpartition(":")[2]
            self._problem(node, path, f"expected a value of type {kind}, got '{node.value}'")
            return None

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        if node.tag != "tag:yaml.org,2002:map":
            self._problem(node, path, f"expected a mapping, got the tag {node.tag}")
            return {}
        own = {key.value for key, _value in node.value if isinstance(key, yaml.ScalarNode)}
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                self._merge(value_node, path, own, values)
                continue
            # A key is what is written: `on: 1` names the option "on", not the value true.
            if not isinstance(key_node, yaml.ScalarNode):
                self._problem(key_node, path, "expected a name as key")
                continue
            key = key_node.value
            if key in values and (*path, key) in self.places and key in own:
                first = self.places.get((*path, key), (0, 0))[0]
                self._problem(key_node, (*path, key), f"given twice, first in line {first}")
                continue
            values[key] = self.read(value_node, (*path, key))
        return values

    def _merge(self, node: yaml.Node, path: Path, own: set[str], values: dict[str, Any]) -> None:
        sources = node.value if isinstance(node, yaml.SequenceNode) else [node]
        for source in sources:
            if not isinstance(source, yaml.MappingNode):
                self._problem(source, path, "expected a mapping after <<")
                continue
            for key_node, value_node in source.value:
                if isinstance(key_node, yaml.ScalarNode) and key_node.value not in own:
                    values.setdefault(key_node.value, None)
                    values[key_node.value] = self.read(value_node, (*path, key_node.value))

    def _problem(self, node: yaml.Node, path: Path, text: str) -> None:
        self.problems.append(Problem(self.file, *_place(node), dotted(path), text))


def _place(node: yaml.Node) -> tuple[int, int]:
    return node.start_mark.line + 1, node.start_mark.column + 1
