"""The handler by itself, in milliseconds."""

from __future__ import annotations

import pytest
from mpchat.testing import Clock, Worker
from websockets.exceptions import ConnectionClosed, InvalidStatus


async def test_a_user_is_answered_by_name(worker: Worker, cookie: str) -> None:
    headers = {"Cookie": cookie, "Origin": "http://localhost"}
    async with worker.websocket_client.get("/chat", additional_headers=headers) as chat:
        await chat.send("hello")
        assert await chat.recv() == "ada: hello"


async def test_a_program_is_answered_by_name(worker: Worker) -> None:
    headers = {"Authorization": "Bearer a-token"}
    async with worker.websocket_client.get("/chat", additional_headers=headers) as chat:
        await chat.send("hello")
        assert await chat.recv() == "robot: hello"


async def test_strangers_are_refused(worker: Worker, cookie: str) -> None:
    name, _, value = cookie.partition("=")
    elsewhere = {"Cookie": cookie, "Origin": "http://elsewhere.example"}
    for headers, status in (
        ({}, 401),
        ({"Authorization": "Bearer another-token"}, 401),
        ({"Cookie": f"{name}=x{value}"}, 401),
        (elsewhere, 403),
    ):
        with pytest.raises(InvalidStatus) as refusal:
            await worker.websocket_client.get("/chat", additional_headers=headers)
        assert refusal.value.response.status_code == status


async def test_a_connection_ends_with_its_cookie(worker: Worker, cookie: str, clock: Clock) -> None:
    headers = {"Cookie": cookie}
    async with worker.websocket_client.get("/chat", additional_headers=headers) as chat:
        await clock.advance(3700)
        with pytest.raises(ConnectionClosed):
            await chat.recv()
    assert chat.close_code == 4401
