"""Clients for tests: WebSocket by ``websockets``, plain HTTP by the standard library."""

from __future__ import annotations

import asyncio
import http.client
import json as json_module
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from websockets.asyncio.client import connect

_SECONDS = 30.0
"""Seconds that a request may take"""


@dataclass(frozen=True)
class HttpResponse:
    """The response to a request."""

    status: int
    headers: dict[str, str]
    """By lower-case name"""
    content: bytes

    @property
    def text(self) -> str:
        return self.content.decode()

    def json(self) -> Any:
        """Return the body as a JSON value."""
        return json_module.loads(self.content)


def read_response(response: http.client.HTTPResponse) -> HttpResponse:
    """Return a response with its whole body."""
    names = {name.lower(): value for name, value in response.getheaders()}
    return HttpResponse(response.status, names, response.read())


@dataclass(frozen=True)
class ServiceClient:
    """Sends plain HTTP requests to the service, each on a new connection.

    The methods have the arguments of userver's client: ``json`` or ``data`` as body, ``params`` for the
    query, ``headers``.

    ``tls`` is what a client of a service with TLS trusts; None: plain HTTP.
    """

    port: int
    tls: ssl.SSLContext | None = None

    async def get(self, path: str, **options: Any) -> HttpResponse:
        """Send GET."""
        return await self.request("GET", path, **options)

    async def post(self, path: str, json: Any = None, **options: Any) -> HttpResponse:
        """Send POST."""
        return await self.request("POST", path, json=json, **options)

    async def put(self, path: str, json: Any = None, **options: Any) -> HttpResponse:
        """Send PUT."""
        return await self.request("PUT", path, json=json, **options)

    async def patch(self, path: str, json: Any = None, **options: Any) -> HttpResponse:
        """Send PATCH."""
        return await self.request("PATCH", path, json=json, **options)

    async def delete(self, path: str, **options: Any) -> HttpResponse:
        """Send DELETE."""
        return await self.request("DELETE", path, **options)

    async def request(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        data: bytes | str | None = None,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> HttpResponse:
        """Send any request and wait for the response."""
        names = dict(headers or {})
        if json is not None:
            data = json_module.dumps(json)
            names.setdefault("Content-Type", "application/json")
        if params:
            path += ("&" if "?" in path else "?") + urlencode(params)
        return await self._send(method, "/" + path.lstrip("/"), names, data)

    async def _send(
        self, method: str, path: str, headers: dict[str, str], data: bytes | str | None
    ) -> HttpResponse:
        return await asyncio.to_thread(self._send_by_thread, method, path, headers, data)

    def _send_by_thread(
        self, method: str, path: str, headers: dict[str, str], data: bytes | str | None
    ) -> HttpResponse:
        connection = self._connection()
        try:
            connection.request(method, path, body=data, headers=headers)
            return read_response(connection.getresponse())
        finally:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        if self.tls is None:
            return http.client.HTTPConnection("localhost", self.port, timeout=_SECONDS)
        return http.client.HTTPSConnection(
            "localhost", self.port, timeout=_SECONDS, context=self.tls
        )


@dataclass
class WebsocketClient:
    """Opens WebSocket connections: ``async with websocket_client.get("chat") as chat``.

    ``ping_interval`` and ``ping_timeout`` are the client's own keepalive, in seconds; None: no pings.
    ``tls`` is what a client of a service with TLS trusts; None: no TLS.
    """

    port: int
    ping_interval: float | None = 20
    ping_timeout: float | None = 20
    tls: ssl.SSLContext | None = None

    def get(self, path: str, **options: Any) -> connect:
        """Call ``websockets.asyncio.client.connect`` for a path of the service."""
        options.setdefault("ping_interval", self.ping_interval)
        options.setdefault("ping_timeout", self.ping_timeout)
        place = f"localhost:{self.port}/{path.lstrip('/')}"
        if self.tls is None:
            return connect(f"ws://{place}", **options)
        options.setdefault("ssl", self.tls)
        return connect(f"wss://{place}", **options)
