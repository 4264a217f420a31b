"""Rooms of a service in one process (``--no-fork``): the broker runs beside the worker."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from mpchat.ipc.control import ControlError
from mpchat.testsuite.clients import WebsocketClient
from tests.functional.conftest import Serve
from tests.kit.control import Control
from tests.kit.waiting import eventually

V1 = ["mpchat.room.v1"]


@pytest.fixture
def service_config_yaml(service_config_yaml: Any) -> Any:
    components = service_config_yaml["components_manager"]["components"]
    components["rooms"] = {"history-memory": 1024 * 1024}
    components["room-handler"] = {"path": "/rooms/{room}"}
    return service_config_yaml


async def test_members_hear_each_other_and_recover(serve: Serve, control: Control) -> None:
    with serve({}, "--no-fork") as service:
        client = WebsocketClient(service.port)
        async with (
            client.get("rooms/a", subprotocols=V1) as one,
            client.get("rooms/a", subprotocols=V1) as other,
        ):
            first = json.loads(await other.recv())
            await one.send(json.dumps({"publish": "1", "data": "hello"}))
            heard = json.loads(await other.recv())
            assert heard["data"] == "hello"
            (row,) = (await asyncio.to_thread(control.ask, "rooms"))["rooms"]
            assert (row["room"], row["members"]) == ("a", 2)
        broker = await eventually(
            lambda: (found := control.status()["broker"])["messages"] and found, "a message"
        )
        assert (broker["state"], broker["pid"]) == ("ready", service.pid)
        assert broker["history_bytes"] == 1024 * 1024
        since = f"{first['epoch']}:{first['offset']}:{first['at']}"
        async with client.get(f"rooms/a?since={since}", subprotocols=V1) as again:
            assert json.loads(await again.recv())["recovered"] is True
            assert json.loads(await again.recv()) == heard
        assert service.stop() == 0


def test_without_rooms_there_is_no_broker(serve: Serve, control: Control) -> None:
    with serve({"rooms": None, "room-handler": None}, "--no-fork"):
        assert control.status()["broker"] is None
        with pytest.raises(ControlError, match="this service has no rooms"):
            control.ask("rooms")
