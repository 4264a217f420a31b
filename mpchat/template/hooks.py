"""Finds mistakes in the classes of a component list before a client notices them.

Rules. Nothing of an author's class is called. A hook that would fail whenever it is called is a mistake;
a method whose name is almost that of a hook gets a warning.
"""

from __future__ import annotations

import difflib
import inspect
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from mpchat.components.auth import AuthCheckerBase
from mpchat.components.component import Component
from mpchat.components.handler_base import HandlerBase
from mpchat.components.http_handler import HttpHandlerBase
from mpchat.components.json_handler import HttpHandlerJsonBase
from mpchat.dynamic_config.variables import BUILT_IN_KEYS
from mpchat.errors import Problem
from mpchat.metrics.declaring import Declaration, declarations_of
from mpchat.metrics.directory import Entry, entry_of, find_conflicts
from mpchat.metrics.directory import find_mistakes as find_mistakes_in
from mpchat.websocket.handler import WebsocketHandlerBase

_RESERVED = ("MPCHAT_", "USERVER_")
_ALIKE = 0.8
"""Similarity, from 0 to 1, at which one name counts as a misspelling of another."""


@dataclass(frozen=True)
class _Hook:
    base: type[Component]
    """The class that defines the hook"""
    name: str
    arguments: tuple[str, ...] = ()
    is_async: bool = True
    is_required: bool = False

    @property
    def definition(self) -> str:
        arguments = ", ".join(("self", *self.arguments))
        return f"{'async ' if self.is_async else ''}def {self.name}({arguments})"


_HOOKS = (
    _Hook(Component, "__init__", ("options", "components"), is_async=False),
    _Hook(Component, "check_files", ("options",), is_async=False),
    _Hook(Component, "start"),
    _Hook(Component, "stop"),
    _Hook(Component, "on_config_update", is_async=False),
    _Hook(Component, "on_all_components_loaded", is_async=False),
    _Hook(Component, "on_all_components_are_stopping", is_async=False),
    _Hook(AuthCheckerBase, "check", ("request", "context")),
    _Hook(HttpHandlerBase, "handle_request", ("request", "context"), is_required=True),
    _Hook(
        HttpHandlerJsonBase, "handle_request_json", ("request", "body", "context"), is_required=True
    ),
    _Hook(WebsocketHandlerBase, "handle_non_websocket_request", ("request", "context")),
    _Hook(WebsocketHandlerBase, "handle_handshake", ("request", "context")),
    _Hook(WebsocketHandlerBase, "handle", ("chat", "context"), is_required=True),
)
_ROOM_HANDLER = ("mpchat.rooms.handler", "RoomHandler")
"""A base that few services have: its hooks are found by its name, so that the others do not import it."""


def find_mistakes(cls: type[Component]) -> Iterator[Problem]:
    """Return a Problem for each hook of a class that cannot work, and for a handler without any."""
    if issubclass(cls, HandlerBase) and not issubclass(cls, HttpHandlerBase | WebsocketHandlerBase):
        file, line = _place(cls, cls)
        text = "expected a class derived from HttpHandlerBase or WebsocketHandlerBase"
        yield Problem(file, line, 1 if line else 0, cls.__name__, text)
    for hook in _hooks_of(cls):
        member = inspect.getattr_static(cls, hook.name)
        if member is not inspect.getattr_static(hook.base, hook.name):
            what = _mistake(cls, hook, member)
            if what is not None:
                file, line = _place(member, cls)
                yield Problem(file, line, 1 if line else 0, f"{cls.__name__}.{hook.name}", what)
        elif hook.is_required and not _may_refuse_everybody(cls):
            file, line = _place(cls, cls)
            like = "".join(f"; is '{name}' a misspelling of it?" for name in _alike(cls, hook))
            text = f"has no `{hook.definition}`{like}"
            yield Problem(file, line, 1 if line else 0, cls.__name__, text)


def find_taken_names(classes: Iterable[type[Component]]) -> Iterator[Problem]:
    """Return a Problem for each dynamic variable whose name a class must not use."""
    known = {key.name: key for key in BUILT_IN_KEYS}
    for cls in classes:
        for key in cls.dynamic_config_keys:
            if known.setdefault(key.name, key) is not key:
                text = "another key has this name"
            elif key not in BUILT_IN_KEYS and key.name.startswith(_RESERVED):
                text = f"names that begin with {' or '.join(_RESERVED)} are reserved"
            else:
                continue
            file, line = _place(cls, cls)
            path = f"{cls.__name__}.dynamic_config_keys"
            yield Problem(file, line, 1 if line else 0, path, f"{text}: {key.name}")


def find_mistakes_in_metrics(classes: Iterable[type[Component]]) -> Iterator[Problem]:
    """Return a Problem for each metric that a class must not declare, beside those of the others."""
    owners: dict[Declaration[Any], tuple[type[Component], str]] = {}
    for cls in classes:
        for attribute, declaration in declarations_of(cls).items():
            owners.setdefault(declaration, (cls, attribute))
    entries: list[tuple[Entry, Declaration[Any]]] = []
    for declaration, owner in owners.items():
        mistakes = [*find_mistakes_in(declaration.given)]
        for text in mistakes:
            yield _problem_of_metric(*owner, text)
        if not mistakes:
            entries.append((entry_of(declaration.given), declaration))
    for entry, text in find_conflicts([entry for entry, _declaration in entries]):
        owner = next(owners[declaration] for other, declaration in entries if other is entry)
        yield _problem_of_metric(*owner, text)


def _problem_of_metric(cls: type[Component], attribute: str, text: str) -> Problem:
    file, line = _place(cls, cls)
    return Problem(file, line, 1 if line else 0, f"{cls.__name__}.{attribute}", text)


def find_misspellings(cls: type[Component]) -> Iterator[str]:
    """Return a warning for each method whose name is almost that of a hook that the class lacks.

    Also return one for a handler without ``handle`` that ``find_mistakes`` lets pass.
    """
    for hook in _hooks_of(cls):
        is_own = inspect.getattr_static(cls, hook.name) is not inspect.getattr_static(
            hook.base, hook.name
        )
        if hook.is_required and not is_own and _may_refuse_everybody(cls):
            file, line = _place(cls, cls)
            yield (
                f"{file}:{line}: {cls.__name__} has no `{hook.definition}`, "
                "so its handle_handshake must refuse every client"
            )
        elif not (is_own or hook.is_required):
            for name in _alike(cls, hook):
                file, line = _place(vars(cls)[name], cls)
                text = f"nothing calls {cls.__name__}.{name}; did you mean '{hook.name}'?"
                yield f"{file}:{line}: {text}"


def _may_refuse_everybody(cls: type[Component]) -> bool:
    own = inspect.getattr_static(cls, "handle_handshake", None)
    usual = inspect.getattr_static(WebsocketHandlerBase, "handle_handshake")
    return issubclass(cls, WebsocketHandlerBase) and own is not usual


def _hooks_of(cls: type[Component]) -> list[_Hook]:
    hooks = [hook for hook in _HOOKS if issubclass(cls, hook.base)]
    for base in cls.__mro__:
        if (base.__module__, base.__name__) == _ROOM_HANDLER:
            hooks.append(_Hook(base, "authorize", ("room", "context")))
            hooks.append(_Hook(base, "member_info", ("room", "context"), is_async=False))
    return hooks


def _alike(cls: type[Component], hook: _Hook) -> list[str]:
    ours = {known.name for known in (*_HOOKS, *_hooks_of(cls))}
    names = [name for name, value in vars(cls).items() if callable(value) and name not in ours]
    return difflib.get_close_matches(hook.name, names, n=1, cutoff=_ALIKE)


def _mistake(cls: type[Component], hook: _Hook, member: Any) -> str | None:
    expected = f"expected `{hook.definition}`"
    if not callable(getattr(cls, hook.name)):
        return f"{expected}, got {type(member).__name__}"
    function = member.__func__ if isinstance(member, staticmethod | classmethod) else member
    if not inspect.isfunction(function):
        return None  # For example a functools.partialmethod: only a call would show a mistake.
    unwrapped = inspect.unwrap(function)
    if inspect.isasyncgenfunction(unwrapped):
        return f"{expected}, got one that contains a yield"
    # A decorator's function may return an awaitable without being async itself.
    if inspect.iscoroutinefunction(unwrapped) != hook.is_async and function is unwrapped:
        return f"{expected}, got one {'without' if hook.is_async else 'with'} async"
    arguments = [None] * len(hook.arguments)
    try:
        signature = inspect.signature(function)
        # A static method is called without the object, anything else with it or the class.
        signature.bind(*([] if isinstance(member, staticmethod) else [cls]), *arguments)
    except TypeError:
        return f"{expected}, got one with other parameters: {signature}"
    return None


def _place(member: Any, cls: type[Component]) -> tuple[str, int]:
    """Return the file and the line of a method or a class; line 0 if it is unknown."""
    if isinstance(member, staticmethod | classmethod):
        member = member.__func__
    member = inspect.unwrap(member) if callable(member) else cls
    code = getattr(member, "__code__", None)
    if code is not None:
        return code.co_filename, code.co_firstlineno
    module = sys.modules.get(cls.__module__)
    file = getattr(module, "__file__", None) or cls.__module__
    try:
        return file, inspect.findsource(cls)[1] + 1
    except (OSError, TypeError):
        return file, 0
