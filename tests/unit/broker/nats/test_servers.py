"""What feeds make of servers that do not answer, or are behind."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import pytest

from mpchat.broker.nats import feeds as feeds_module
from mpchat.broker.nats.feeds import Feeds, OtherStream
from mpchat.jetstream.api import Info
from mpchat.jetstream.configuration import epoch_of
from mpchat.jetstream.errors import NoReply
from mpchat.jetstream.options import JetStreamOptions

OPTIONS = JetStreamOptions(servers=["nats://127.0.0.1:4222"], replicas=3)
CONFIG = {"name": "ROOMS", "num_replicas": 3}


def info(last_seq: int, leader: str | None) -> Info:
    return Info("2026-11-30T00:00:00Z", CONFIG, {}, 1, last_seq, leader, True, 3)


class Server:
    """Answers as told; is the api and the connection."""

    subjects = OPTIONS.subjects
    is_up = True

    def __init__(self, infos: Sequence[Info]) -> None:
        self._infos = list(infos)
        self.left = 0

    async def info(self) -> Info:
        return self._infos.pop(0)

    def leave(self, why: str) -> None:
        self.left += 1


def feeds_of(server: Server, clock: Any = lambda: 0.0) -> Feeds:
    api, audience = cast(Any, server), cast(Any, None)
    epoch = epoch_of(info(0, "n1"))
    return Feeds(api, api, OPTIONS, epoch, audience, lambda work: work.close(), clock)


async def test_a_stream_that_has_gone_back_is_another() -> None:
    feeds = feeds_of(Server([info(62, "n1"), info(1, "n2")]))
    await feeds.check()
    with pytest.raises(OtherStream, match="has gone back from 62 to 1"):
        await feeds.check()


async def test_a_replica_without_a_leader_may_be_behind() -> None:
    server = Server([info(62, "n1"), info(1, None), info(1, None), info(63, "n2")])
    feeds = feeds_of(server)
    for _ in range(4):
        await feeds.check()


async def test_many_questions_in_vain_leave_a_server_once() -> None:
    server = Server([])
    now = 0.0
    feeds = feeds_of(server, lambda: now)
    asked = 0

    async def ask() -> None:
        nonlocal asked, now
        asked += 1
        # Each of them has lost its patience by the second time that they are asked.
        now = 0.0 if asked <= 5 else feeds_module._PATIENCE + 1
        if asked <= 15:
            raise NoReply("no answer")

    await asyncio.gather(*(feeds.persist(ask) for _ in range(5)))
    assert server.left == 1
