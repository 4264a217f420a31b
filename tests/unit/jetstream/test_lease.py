"""Whose word about the stream counts."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from mpchat.jetstream.api import Api, Info
from mpchat.jetstream.configuration import prepare
from mpchat.jetstream.connection import Connection
from mpchat.jetstream.errors import Unavailable
from mpchat.jetstream.options import JetStreamOptions
from tests.kit.nats import PASSWORD, USER, NatsCluster

DEADLINE = 30.0


def ignore(*_words: object) -> None:
    pass


async def asked_until(api: Api, *, has_leader: bool) -> Info:
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        info = await api.info()
        if info.has_leader == has_leader:
            return info
        await asyncio.sleep(0.1)
    raise TimeoutError(f"within {DEADLINE:g} s has_leader did not become {has_leader}")


@pytest.mark.parametrize(
    ("leader", "silence", "has_leader"),
    [("n1", 0.9, True), ("n1", 3.1, False), (None, 0.9, False)],
)
def test_a_leader_is_one_while_most_servers_hear_it(
    leader: str | None, silence: float, has_leader: bool
) -> None:
    info = Info("2026", {}, {}, 1, 0, leader, True, 3, silence)
    assert info.has_leader == has_leader
    assert info._replace(is_clustered=False).has_leader


async def test_a_leader_that_is_cut_off_names_itself_and_does_not_count(tmp_path: Path) -> None:
    cluster = NatsCluster(tmp_path)
    try:
        await asyncio.to_thread(cluster.start)
        login = {"user": USER, "password": PASSWORD, "replicas": 3}
        options = JetStreamOptions.model_validate({"servers": cluster.urls, **login})
        connection = Connection(options, on_up=ignore, on_lost=ignore, on_error=ignore)
        await connection.connect(DEADLINE)
        api = Api(connection, options.subjects)
        while True:
            try:
                leader = (await prepare(api, options)).leader
                break
            except Unavailable:
                await asyncio.sleep(0.1)
        asked = None
        while leader != asked:
            # A young cluster may choose another leader.
            assert leader is not None
            asked = leader
            await connection.close()
            alone = options.model_copy(update={"servers": [cluster.named(asked).url]})
            connection = Connection(alone, on_up=ignore, on_lost=ignore, on_error=ignore)
            await connection.connect(DEADLINE)
            api = Api(connection, options.subjects)
            leader = (await asked_until(api, has_leader=True)).leader
        for server in cluster.servers:
            if server.name != leader:
                server.stop()
        assert (await asked_until(api, has_leader=False)).leader == leader
        await connection.close()
    finally:
        cluster.close()
