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


def info(last_seq: int, leader: str | None, silence: float = 0.5) -> Info:
    return Info("2026-11-30T00:00:00Z", CONFIG, {}, 1, last_seq, leader, True, 3, silence)


class Server:
    """Answers as told; is the api and the connection."""

    subjects = OPTIONS.subjects
    is_up = True

    def __init__(self, infos: Sequence[Info]) -> None:
        self._infos = list(infos)
        self.asked = self.left = 0

    async def info(self, timeout: float) -> Info:
        self.asked += 1
        return self._infos.pop(0)

    def leave(self, why: str) -> None:
        self.left += 1


def feeds_of(server: Server, clock: Any = lambda: 0.0) -> Feeds:
    api, audience = cast(Any, server), cast(Any, None)
    epoch = epoch_of(info(0, "n1"))
    return Feeds(api, api, OPTIONS, epoch, audience, lambda work: work.close(), clock)


async def test_a_stream_that_has_gone_back_is_another() -> None:
    feeds = feeds_of(Server([info(62, "n1"), info(1, "n2"), info(1, "n2")]))
    await feeds.check()
    with pytest.raises(OtherStream, match="has gone back from 62 to 1"):
        await feeds.check()


async def test_a_replica_without_a_leader_may_be_behind() -> None:
    server = Server([info(62, "n1"), info(1, None), info(1, None), info(63, "n2")])
    feeds = feeds_of(server)
    await feeds.check()
    await feeds.check()
    assert server.asked == 4


async def test_a_leader_that_is_cut_off_may_be_behind() -> None:
    old = info(1, "n1", silence=3.5)
    server = Server([info(62, "n1"), old, old, old, info(63, "n2")])
    feeds = feeds_of(server)
    await feeds.check()
    await feeds.check()
    assert server.asked == 5


@pytest.mark.parametrize("leader", [None, "n2"])
async def test_a_server_is_left_once_and_only_if_it_hears_of_no_leader(leader: str | None) -> None:
    server = Server([info(62, "n1"), info(62, leader), info(62, "n2")])
    now = 0.0
    feeds = feeds_of(server, lambda: now)
    await feeds.check()
    now = feeds_module._PATIENCE + 1
    await feeds.check()
    asked = 0

    async def ask() -> None:
        nonlocal asked
        asked += 1
        if asked <= 10:
            raise NoReply("no answer")

    await asyncio.gather(*(feeds.persist(ask) for _ in range(5)))
    assert server.left == (leader is None)
