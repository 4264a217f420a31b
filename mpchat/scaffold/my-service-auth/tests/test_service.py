"""The service as users run it: its own main and configs, on a free port."""

from __future__ import annotations

import pytest
from mpchat.testsuite.clients import ServiceClient, WebsocketClient
from websockets.exceptions import InvalidStatus


async def test_it_serves(websocket_client: WebsocketClient, service_client: ServiceClient) -> None:
    assert (await service_client.get("/ping")).status == 200
    with pytest.raises(InvalidStatus):
        await websocket_client.get("chat")
    answer = await service_client.post("/login", json={"user": "ada", "password": "a secret"})
    headers = {"Cookie": answer.headers["set-cookie"].partition(";")[0]}
    async with websocket_client.get("chat", additional_headers=headers) as chat:
        await chat.send("hello")
        assert await chat.recv() == "ada: hello"
