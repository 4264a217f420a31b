"""A server of NATS for each module, without streams for each test."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.kit.nats import NatsServer
from tests.unit.jetstream.rig import administrator


@pytest.fixture(scope="module")
def module_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """The server of a module."""
    server = NatsServer(tmp_path_factory.mktemp("nats"))
    try:
        yield server.start()
    finally:
        server.close()


@pytest.fixture
def server(module_server: NatsServer) -> Iterator[NatsServer]:
    """The server of a module, whose streams are gone after the test."""
    yield module_server
    asyncio.run(_empty(module_server.url))


async def _empty(url: str) -> None:
    async with administrator(url) as admin:
        await admin.delete_all()
