"""Paths to handlers: exact ones first, then those with ``{name}`` segments, in the order given.

Rules. Paths, including those of the config, are compared in their normal form. A method that no handler
has and the RFCs do not define is not implemented (501) rather than not allowed (405).
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import NamedTuple
from urllib.parse import unquote

from mpchat.components.handler_base import HandlerBase
from mpchat.http.errors import HttpError
from mpchat.http.target import normalise, parse_target

_PARAMETER = re.compile(r"\\\{(\w+)\\\}")
_KNOWN_METHODS = frozenset(
    {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE"}
)
_NO_PARAMS: Mapping[str, str] = MappingProxyType({})


class Route(NamedTuple):
    """A handler found for a request."""

    handler: HandlerBase
    methods: frozenset[str]
    params: Mapping[str, str]
    authority: str | None
    """The target's own; None if the target is a path, so that Host applies"""


class Routes:
    """The paths of one worker's handlers."""

    def __init__(self, handlers: Iterable[HandlerBase]) -> None:
        self._exact: dict[str, tuple[HandlerBase, frozenset[str]]] = {}
        self._patterns: list[tuple[re.Pattern[str], HandlerBase, frozenset[str]]] = []
        # Paths that also match with a slash at their end.
        self._either: set[str] = set()
        self._methods: frozenset[str] = frozenset()
        for handler in handlers:
            path = normalise(handler.options.path)
            methods = frozenset(name.strip() for name in handler.options.method.split(","))
            self._methods |= methods
            if handler.options.url_trailing_slash == "both":
                path = path.rstrip("/") or "/"
                self._either.add(path)
            if "{" in path:
                pattern = _PARAMETER.sub(r"(?P<\1>[^/]+)", re.escape(path))
                if path in self._either:
                    pattern += "/?"
                self._patterns.append((re.compile(pattern), handler, methods))
            else:
                self._exact[path] = (handler, methods)
        # What most requests ask for, letter by letter: found without a look at its grammar.
        self._usual: dict[tuple[str, str], Route] = {}
        for path, (_handler, methods) in self._exact.items():
            for method in methods:
                # A path of the config may have what no target may.
                with contextlib.suppress(HttpError):
                    self._usual[method, path] = self._find(method, path)

    def find(self, method: str, target: str) -> Route:
        """Return the handler for a request.

        Raises:
            HttpError: 404, or 405 if the path exists; 501 for an unknown method, 400 for a bad target.
        """
        route = self._usual.get((method, target))
        return self._find(method, target) if route is None else route

    def _find(self, method: str, target: str) -> Route:
        parsed = parse_target(method, target)
        path = parsed.path
        if method not in _KNOWN_METHODS and method not in self._methods:
            raise HttpError(HTTPStatus.NOT_IMPLEMENTED, "this method is unknown")
        if path == "*":
            # The server as a whole.
            raise _not_allowed(self._methods)
        found = self._exact.get(path)
        if found is None and path.endswith("/") and path[:-1] in self._either:
            found = self._exact.get(path[:-1])
        params = _NO_PARAMS
        if found is None:
            for pattern, handler, methods in self._patterns:
                match = pattern.fullmatch(path)
                if match is not None:
                    found = (handler, methods)
                    params = {name: unquote(value) for name, value in match.groupdict().items()}
                    break
        if found is None:
            raise HttpError(HTTPStatus.NOT_FOUND, "nothing is served on this path")
        handler, methods = found
        if method not in methods and not (method == "HEAD" and "GET" in methods):
            raise _not_allowed(methods)
        return Route(handler, methods, params, parsed.authority)


def _not_allowed(methods: frozenset[str]) -> HttpError:
    # HEAD is answered if GET is.
    answered = methods | {"HEAD"} if "GET" in methods else methods
    allow = {"Allow": ", ".join(sorted(answered))}
    text = "this method is not allowed on this path"
    return HttpError(HTTPStatus.METHOD_NOT_ALLOWED, text, allow)
