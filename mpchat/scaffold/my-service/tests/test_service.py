"""The service as users run it: its own main and configs, on a free port."""

from __future__ import annotations

from mpchat.testsuite.clients import ServiceClient, WebsocketClient


async def test_it_serves(websocket_client: WebsocketClient, service_client: ServiceClient) -> None:
    assert (await service_client.get("/ping")).status == 200
    async with websocket_client.get("chat") as chat:
        await chat.send("hello")
        assert await chat.recv() == "you said: hello"
    assert chat.close_code == 1000
