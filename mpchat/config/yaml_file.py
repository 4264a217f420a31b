"""YAML text to plain values, with the place of each value.

Rules. PyYAML composes the node tree, which keeps line and column of every node; its safe constructor
makes the values. Every mistake in the text as YAML is a ConfigError: a syntax error, a second document,
keys that are repeated or not strings, tags, merge keys that name no mapping.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import yaml

from mpchat.config.types import MAX_DEPTH
from mpchat.errors import ConfigError, Problem

Path: TypeAlias = tuple[str | int, ...]
_ROOT = "components_manager"


@dataclass(frozen=True)
class Document:
    """The value of a file, and the place of each part (line and column, from 1)."""

    file: str
    value: Any
    places: Mapping[Path, tuple[int, int]]
    origins: Mapping[Path, str] = field(default_factory=dict)
    """For values from a variable: its name and place"""
    undefined: Mapping[Path, str] = field(default_factory=dict)
    """Options without a value because their variable has none, with the reason"""
    problems: tuple[Problem, ...] = ()
    """Mistakes that leave the rest readable, such as a key given twice"""


def read_yaml(text: str, file: str) -> Document:
    """Parse one document; its ``problems`` has the mistakes of single keys and values.

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
        what = f"nested too deeply: {MAX_DEPTH} levels are allowed"
        raise ConfigError([Problem(file, 0, 0, "", what)]) from error
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
    for missing, reason in document.undefined.items():
        if len(path) > 1 and missing[: len(path)] == path:
            text += f" ({dotted(missing[len(path) - 1 :])}: {reason})"
    return Problem(document.file, line, column, dotted(path), text)


def origin_of(document: Document, path: Path) -> str:
    """Return where the value at a path comes from: a variable, or the place in the file."""
    for end in range(len(path), 0, -1):
        if path[:end] in document.origins:
            return document.origins[path[:end]]
        if path[:end] in document.places:
            return _in(document, path[:end])
    return document.file


def _in(document: Document, path: Path) -> str:
    line, column = document.places[path]
    return f"{document.file}:{line}:{column}"


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
        self._known: dict[int, dict[str, yaml.Node]] = {}
        """The pairs of each mapping, by the id of its node: many places may merge the same mapping"""

    def read(self, node: yaml.Node, path: Path) -> Any:
        if len(path) > MAX_DEPTH:
            raise RecursionError
        self.places[path] = _place(node)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.read(item, (*path, index)) for index, item in enumerate(node.value)]
        if "\0" in node.value:
            # The system allows a zero byte in no name and no path.
            self._problem(node, path, "a text must not contain a zero byte")
            return None
        try:
            return self.loader.construct_object(node, deep=True)
        except (ValueError, LookupError, OverflowError, TypeError):
            # PyYAML's constructors do not check that the text fits the tag.
            kind = node.tag.rpartition(":")[2]
            self._problem(node, path, f"expected a value of type {kind}, got '{node.value}'")
            return None

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        if node.tag != "tag:yaml.org,2002:map":
            self._problem(node, path, f"expected a mapping, got the tag {node.tag}")
            return {}
        return {
            key: self.read(value, (*path, key)) for key, value in self._pairs(node, path).items()
        }

    def _pairs(self, node: yaml.MappingNode, path: Path) -> dict[str, yaml.Node]:
        """Return the pairs of a mapping: its own, then merged ones; the first of each key wins.

        Merging is that of https://yaml.org/type/merge.html: a mapping's own keys override merged ones,
        earlier mappings of a list override later ones, and a merged mapping may merge others. (PyYAML's
        own constructor, as of 6.0.4, lets the later override.)
        """
        known = self._known.get(id(node))
        if known is not None:
            return known
        pairs: dict[str, yaml.Node] = {}
        merged: list[yaml.Node] = []
        first: dict[tuple[bool, str], int] = {}
        for key_node, value_node in node.value:
            # A key is its text: `on: 1` names the option "on", not the value true.
            if not isinstance(key_node, yaml.ScalarNode):
                self._problem(key_node, path, "expected a name as key")
                continue
            is_merge = key_node.tag == "tag:yaml.org,2002:merge"
            if (is_merge, key_node.value) in first:
                line = first[is_merge, key_node.value]
                inside = (*path, key_node.value)
                self._problem(key_node, inside, f"given twice, first in line {line}")
                continue
            first[is_merge, key_node.value] = _place(key_node)[0]
            if not is_merge:
                pairs[key_node.value] = value_node
            elif isinstance(value_node, yaml.SequenceNode):
                merged += value_node.value
            else:
                merged.append(value_node)
        for source in merged:
            if not isinstance(source, yaml.MappingNode):
                self._problem(source, path, "expected a mapping after <<")
                continue
            for key, value in self._pairs(source, path).items():
                pairs.setdefault(key, value)
        self._known[id(node)] = pairs
        return pairs

    def _problem(self, node: yaml.Node, path: Path, text: str) -> None:
        self.problems.append(Problem(self.file, *_place(node), dotted(path), text))


def _place(node: yaml.Node) -> tuple[int, int]:
    return node.start_mark.line + 1, node.start_mark.column + 1
