"""Paths to handlers: exact ones first, then those with ``{name}`` segments, in the order given."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import unquote, urlsplit

from mpchat.components.handler_base import HandlerBase
from mpchat.server.head import HttpError

_PARAMETER = re.compile(r"\\\{(\w+)\\\}")


@dataclass(frozen=True)
class Route:
    """A handler found for a request."""

    handler: HandlerBase
    methods: frozenset[str]
    params: dict[str, str]


class Routes:
    """The paths of one worker's handlers."""

    def __init__(self, handlers: Iterable[HandlerBase]) -> None:
        self._exact: dict[str, tuple[HandlerBase, frozenset[str]]] = {}
        self._patterns: list[tuple[re.Pattern[str], HandlerBase, frozenset[str]]] = []
        # Paths that are the same with a slash at their end.
        self._either: set[str] = set()
        for handler in handlers:
            path: str = handler.options.path
            methods = frozenset(name.strip() for name in handler.options.method.split(","))
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

    def find(self, method: str, target: str) -> Route:
        """Return the handler for a request.

        Raises:
            HttpError: 404, or 405 where the path exists.
        """
        path = _path(target)
        found = self._exact.get(path)
        if found is None and path.endswith("/") and path[:-1] in self._either:
            found = self._exact.get(path[:-1])
        params: dict[str, str] = {}
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
            raise MethodNotAllowed(methods)
        return Route(handler, methods, params)


class MethodNotAllowed(HttpError):
    """405; the response names what is allowed."""

    def __init__(self, methods: frozenset[str]) -> None:
        super().__init__(HTTPStatus.METHOD_NOT_ALLOWED, "this method is not allowed on this path")
        self.allow = ", ".join(sorted(methods))


def _path(target: str) -> str:
    if not target.startswith("/"):
        # Absolute form (RFC 9112, 3.2.2).
        target = urlsplit(target).path or "/"
    return target.partition("?")[0]
