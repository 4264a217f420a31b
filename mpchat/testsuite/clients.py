"""Clients for tests: WebSocket by ``websockets``, plain HTTP by the standard library."""

from __future__ import annotations

import asyncio
import http.client
from dataclasses import dataclass
from typing import Any

from websockets.asyncio.client import connect


@dataclass(frozen=True)
class HttpResponse:
    """What came back."""

    status: int
    headers: dict[str, str]
    content: bytes

    @property
    def text(self) -> str:
        return self.content.decode()


@dataclass(frozen=True)
class ServiceClient:
    """Plain HTTP requests to the service, each on a connection of its own."""

    port: int

    async def get(self, path: str, headers: dict[str, str] | None = None) -> HttpResponse:
        """Send GET."""
        return await self.request("GET", path, headers)

    async def post(
        self, path: str, data: bytes = b"", headers: dict[str, str] | None = None
    ) -> HttpResponse:
        """Send POST."""
        return await self.request("POST", path, headers, data)

    async def request(
        self,
        method: str,
        path: str,
        headers: dict[str, str] | None = None,
        data: bytes | None = None,
    ) -> HttpResponse:
        """Send any request and wait for the response."""
        return await asyncio.to_thread(self._request, method, path, headers or {}, data)

    def _request(
        self, method: str, path: str, headers: dict[str, str], data: bytes | None
    ) -> HttpResponse:
        connection = http.client.HTTPConnection("localhost", self.port, timeout=30)
        try:
            connection.request(method, path, body=data, headers=headers)
            response = connection.getresponse()
            names = {name.lower(): value for name, value in response.getheaders()}
            return HttpResponse(response.status, names, response.read())
        finally:
            connection.close()


@dataclass
class WebsocketClient:
    """Opens WebSocket connections: ``async with websocket_client.get("chat") as chat``.

    ``ping_interval`` and ``ping_timeout`` are the client's own keepalive, in seconds; None: no pings.
    """

    port: int
    ping_interval: float | None = 20
    ping_timeout: float | None = 20

    def get(self, path: str, **options: Any) -> connect:
        """Return what ``websockets.asyncio.client.connect`` does, for a path of the service."""
        options.setdefault("ping_interval", self.ping_interval)
        options.setdefault("ping_timeout", self.ping_timeout)
        return connect(f"ws://localhost:{self.port}/{path.lstrip('/')}", **options)
