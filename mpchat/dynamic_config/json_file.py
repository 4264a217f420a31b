"""JSON text to values, with the place of each value.

Rules. ``json`` parses the values; a second walk over the text, now known to be JSON, finds their places.
Beyond the grammar, repeated names, NaN, Infinity and a byte order mark are refused.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Iterator
from typing import NoReturn

from mpchat.config.types import MAX_DEPTH
from mpchat.config.yaml_file import Document, Path, dotted
from mpchat.errors import ConfigError, Problem

_SPACE = re.compile(r"[ \t\n\r]*")
_ATOM = re.compile(r"[^\s,\]}]+")
_REFUSED = re.compile(r'"(?:[^"\\]|\\.)*"|-?(?:NaN|Infinity)|\d{1000,}')
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')


def read_json(text: str, file: str) -> Document:
    """Parse a JSON object; names given twice are in its ``problems``.

    Raises:
        ConfigError: The text is not one JSON object.
    """
    if text.startswith("\ufeff"):
        raise ConfigError([Problem(file, 1, 1, "", "begins with a byte order mark; remove it")])
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
        walker = _Walker(text)
        walker.value(0, ())
    except json.JSONDecodeError as error:
        what = f"not valid JSON: {error.msg[0].lower()}{error.msg[1:]}"
        raise ConfigError([Problem(file, error.lineno, error.colno, "", what)]) from error
    except RecursionError as error:
        what = f"nested too deeply: {MAX_DEPTH} levels are allowed"
        raise ConfigError([Problem(file, 0, 0, "", what)]) from error
    except ValueError as error:
        # Python refuses a constant or a number, but does not say where.
        walker = _Walker(text)
        place = next((walker.place(at) for at in _refused(text)), (0, 0))
        raise ConfigError([Problem(file, *place, "", f"not valid JSON: {error}")]) from error
    problems = [
        Problem(file, *walker.place(index), dotted(path), "given twice")
        for path, index in walker.repeated
    ]
    if not isinstance(value, dict):
        raise ConfigError([*problems, Problem(file, 1, 1, "", "expected an object of variables")])
    places = {path: walker.place(index) for path, index in walker.found.items()}
    return Document(file, value, places, problems=tuple(problems))


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _refused(text: str) -> Iterator[int]:
    for found in _REFUSED.finditer(text):
        if not found[0].startswith('"'):
            yield found.start()


class _Walker:
    """Walks text that ``json`` has accepted and notes where each value begins."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.found: dict[Path, int] = {}
        self.repeated: list[tuple[Path, int]] = []
        self.lines = [0, *(match.end() for match in re.finditer("\n", text))]

    def place(self, index: int) -> tuple[int, int]:
        line = bisect_right(self.lines, index)
        return line, index - self.lines[line - 1] + 1

    def value(self, index: int, path: Path) -> int:
        if len(path) > MAX_DEPTH:
            raise RecursionError
        index = self._skip(index)
        self.found[path] = index
        first = self.text[index]
        if first == "{":
            return self._object(index + 1, path)
        if first == "[":
            return self._array(index + 1, path)
        if first == '"':
            return self._string(index)[1]
        found = _ATOM.match(self.text, index)
        return found.end() if found else index + 1

    def _object(self, index: int, path: Path) -> int:
        index = self._skip(index)
        names: set[str] = set()
        while self.text[index] != "}":
            if self.text[index] == ",":
                index = self._skip(index + 1)
            start = index
            name, index = self._string(index)
            if name in names:
                self.repeated.append(((*path, name), start))
            names.add(name)
            index = self._skip(index) + 1  # the colon
            index = self._skip(self.value(index, (*path, name)))
        return index + 1

    def _array(self, index: int, path: Path) -> int:
        index = self._skip(index)
        number = 0
        while self.text[index] != "]":
            if self.text[index] == ",":
                index += 1
            index = self._skip(self.value(index, (*path, number)))
            number += 1
        return index + 1

    def _string(self, index: int) -> tuple[str, int]:
        found = _STRING.match(self.text, index)
        assert found is not None, "json has accepted this text"
        name: str = json.loads(found[0])
        return name, found.end()

    def _skip(self, index: int) -> int:
        found = _SPACE.match(self.text, index)
        return found.end() if found else index
