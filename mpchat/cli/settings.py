"""``mpchat config``: the options of a service as YAML with comments, and what differs between two.

Rules. Pure: settings in, lines out. The YAML is a static config; only secrets would have to be put in.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import yaml

from mpchat.config.settings import DEFAULT, DEFAULT_AT_TERMINAL, DEVELOPMENT, SECRET, Setting
from mpchat.config.yaml_file import dotted

_COMMENT_COLUMN = 56
_INDENT = " " * 4
_MAY_FAIL = {
    "reload": "reload",
    "restart": "restart",
    "update": "update from the config service",
}
"""What an answer of the verb ``dynamic-config`` has an error of, and what it is called"""
_Tree: TypeAlias = "dict[str | int, _Tree | Setting]"


def config_lines(settings: Sequence[Setting]) -> Iterator[str]:
    """Return a static config of these settings, with the origin of each as a comment."""
    for text, origin in _lines(_tree(settings)):
        yield f"{text:<{_COMMENT_COLUMN}}  # {origin}" if origin else text


def dynamic_lines(answer: dict[str, Any]) -> Iterator[str]:
    """Return the variables of a dynamic config, with the origin of each, below what is known of it."""
    if "generation" in answer:
        yield f"# generation {answer['generation']}, since {answer['since']}"
        for name, what in _MAY_FAIL.items():
            if (failure := answer[f"{name}_error"]) is not None:
                yield f"# the last {what} failed, at {failure['at']}:"
                yield from (f"#     {line}" for line in failure["text"].splitlines())
    for name, variable in answer["variables"].items():
        text = f"{name}: {json.dumps(variable['value'])}"
        declared = "" if variable["declared"] else ", but nothing here declares it"
        yield f"{text:<{_COMMENT_COLUMN}}  # {variable['origin']}{declared}"


@dataclass(frozen=True)
class Change:
    """An option that differs; None where there is none."""

    old: Setting | None
    new: Setting | None

    def lines(self) -> Iterator[str]:
        """Return the option's name, and both values with their origins."""
        known = self.old or self.new
        assert known is not None
        yield f"{dotted(known.path)}:"
        for sign, setting in (("-", self.old), ("+", self.new)):
            if setting is not None:
                yield f"{sign} {_scalar(setting.value)}  # {setting.origin}"


def changes(old: Sequence[Setting], new: Sequence[Setting]) -> list[Change]:
    """Return what differs, in the order of the old settings; secrets count as equal."""
    before = {setting.path: setting for setting in old}
    after = {setting.path: setting for setting in new}
    pairs = [Change(before.get(path), after.get(path)) for path in before | after]
    return [change for change in pairs if _differs(change)]


def secrets(settings: Sequence[Setting]) -> list[str]:
    """Return the names of options whose value is not shown."""
    return [dotted(setting.path) for setting in settings if setting.value == SECRET]


def _differs(change: Change) -> bool:
    old, new = change.old, change.new
    if old is None or new is None:
        return True
    if DEVELOPMENT in {old.origin, new.origin}:
        return False
    if {old.origin, new.origin} == {DEFAULT, DEFAULT_AT_TERMINAL}:
        return False
    # In Python 1 == True.
    return (type(old.value), old.value) != (type(new.value), new.value)


def _tree(settings: Sequence[Setting]) -> _Tree:
    root: _Tree = {}
    for setting in settings:
        node = root
        for part in setting.path[:-1]:
            below = node.setdefault(part, {})
            assert isinstance(below, dict)
            node = below
        node[setting.path[-1]] = setting
    return root


def _lines(tree: _Tree) -> Iterator[tuple[str, str]]:
    """Return lines of YAML, each with its comment."""
    for key, node in tree.items():
        if isinstance(node, Setting):
            head = "-" if isinstance(key, int) else f"{_scalar(key)}:"
            yield f"{head} {_scalar(node.value)}", node.origin
        elif isinstance(key, int):
            # The first line of an item is behind its dash.
            for number, (text, origin) in enumerate(_lines(node)):
                yield ("  " if number else "- ") + text, origin
        else:
            yield f"{_scalar(key)}:", ""
            for text, origin in _lines(node):
                yield _INDENT + text, origin


def _scalar(value: Any) -> str:
    """Return a value as YAML on one line."""
    text = yaml.safe_dump(value, width=math.inf, allow_unicode=True).removesuffix("\n...\n")
    text = text.removesuffix("\n")
    if len(text.splitlines()) > 1:
        text = yaml.safe_dump(value, width=math.inf, default_style='"').removesuffix("\n")
    return text
