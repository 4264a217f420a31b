"""The service as users run it: its own main and configs, on a free port."""

from __future__ import annotations

from mpchat.testsuite.clients import ServiceClient, WebsocketClient
from mpchat.testsuite.rooms import Memberships


async def test_it_serves(
    websocket_client: WebsocketClient, service_client: ServiceClient, rooms: Memberships
) -> None:
    assert (await service_client.get("/ping")).status == 200
    get = websocket_client.get
    async with get("rooms/help") as ada, get("rooms/help") as bob:
        await rooms.joined("help", 2)
        await ada.send("hello")
        assert (await ada.recv(), await bob.recv()) == ("hello", "hello")
    assert ada.close_code == 1000
    await rooms.joined("help", 0)
