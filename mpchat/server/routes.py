"""Paths to handlers: exact ones first, then those with ``{name}`` segments, in the order given.

Rules. Paths, including those of the config, are compared in their normal form. Several handlers may have
one path, each with other methods; a WebSocket handler and an HTTP handler may have one with the same
method, and the first then gets the requests that ask for an upgrade. A method that no handler has and the
RFCs do not define is not implemented (501) rather than not allowed (405). OPTIONS is answered for every
path.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import NamedTuple
from urllib.parse import unquote

from mpchat.components.handler_base import HandlerBase, methods_of
from mpchat.http.errors import HttpError
from mpchat.http.target import normalise, parse_target
from mpchat.websocket.handler import WebsocketHandlerBase

_PARAMETER = re.compile(r"\\\{(\w+)\\\}")
_KNOWN_METHODS = frozenset(
    {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE"}
)
_NO_PARAMS: Mapping[str, str] = MappingProxyType({})


class Route(NamedTuple):
    """What was found for a request."""

    handler: HandlerBase | None
    """None for an OPTIONS that no handler takes: ``allow`` answers it"""
    allow: str
    """The methods of the path, as Allow has them"""
    params: Mapping[str, str]
    authority: str | None
    """The target's own; None if the target is a path, so that Host applies"""
    upgrading: WebsocketHandlerBase | None = None
    """Who takes a request that asks for an upgrade; None: ``handler`` takes all"""

    def handler_of(self, *, upgrade: bool) -> HandlerBase | None:
        """Return the handler of a request, which asks for an upgrade or does not."""
        return self.upgrading if upgrade and self.upgrading is not None else self.handler


class _Takers(NamedTuple):
    """Who takes a method on a path."""

    http: HandlerBase | None = None
    websocket: WebsocketHandlerBase | None = None

    def join(self, handler: HandlerBase) -> _Takers:
        """Add a handler behind those that are there: the first of a kind takes all."""
        if isinstance(handler, WebsocketHandlerBase):
            return self if self.websocket is not None else _Takers(self.http, handler)
        return self if self.http is not None else _Takers(handler, self.websocket)


_ByMethod = dict[str, _Takers]


class Routes:
    """The paths of one worker's handlers."""

    def __init__(self, handlers: Iterable[HandlerBase]) -> None:
        self._exact: dict[str, _ByMethod] = {}
        self._patterns: dict[str, tuple[re.Pattern[str], _ByMethod]] = {}
        self._all: _ByMethod = {}
        own: list[tuple[str, HandlerBase]] = []
        slashed: list[tuple[str, HandlerBase]] = []
        for handler in handlers:
            path = normalise(handler.options.path)
            if handler.options.url_trailing_slash == "both":
                path = path.rstrip("/") or "/"
                slashed.append((path.rstrip("/") + "/", handler))
            own.append((path, handler))
        # A path that is somebody's own comes before one that only tolerates a slash.
        for path, handler in own + slashed:
            self._add(path, handler)
        # What most requests ask for, letter by letter: found without a look at its grammar.
        self._usual: dict[tuple[str, str], Route] = {}
        for path, by_method in self._exact.items():
            for method in by_method:
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

    def _add(self, path: str, handler: HandlerBase) -> None:
        if "{" in path:
            pattern = _PARAMETER.sub(r"(?P<\1>[^/]+)", re.escape(path))
            _, by_method = self._patterns.setdefault(path, (re.compile(pattern), {}))
        else:
            by_method = self._exact.setdefault(path, {})
        for method in methods_of(handler.options.method):
            for takers in (by_method, self._all):
                takers[method] = takers.get(method, _Takers()).join(handler)

    def _find(self, method: str, target: str) -> Route:
        parsed = parse_target(method, target)
        path = parsed.path
        if method not in _KNOWN_METHODS and method not in self._all:
            raise HttpError(HTTPStatus.NOT_IMPLEMENTED, "this method is unknown")
        if path == "*":
            # OPTIONS for the server as a whole.
            return Route(None, _allow(self._all), _NO_PARAMS, parsed.authority)
        by_method = self._exact.get(path)
        params = _NO_PARAMS
        if by_method is None:
            for pattern, candidate in self._patterns.values():
                match = pattern.fullmatch(path)
                if match is not None:
                    by_method = candidate
                    params = {name: unquote(value) for name, value in match.groupdict().items()}
                    break
        if by_method is None:
            raise HttpError(HTTPStatus.NOT_FOUND, "nothing is served on this path")
        allow = _allow(by_method)
        takers = by_method.get(method)
        if takers is None and method == "HEAD":
            takers = by_method.get("GET")
        if takers is None:
            if method == "OPTIONS":
                return Route(None, allow, params, parsed.authority)
            text = "this method is not allowed on this path"
            raise HttpError(HTTPStatus.METHOD_NOT_ALLOWED, text, {"Allow": allow})
        handler = takers.http if takers.http is not None else takers.websocket
        return Route(handler, allow, params, parsed.authority, takers.websocket)


def _allow(by_method: _ByMethod) -> str:
    # HEAD is answered if GET is, OPTIONS always.
    methods = {*by_method, "OPTIONS"} | ({"HEAD"} if "GET" in by_method else set())
    return ", ".join(sorted(methods))
