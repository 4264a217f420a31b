"""Three servers: what is only seen where a stream has followers."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from functools import partial

import pytest

from mpchat.jetstream.api import Ack, Info
from mpchat.jetstream.errors import Unavailable
from mpchat.jetstream.filling import anchor, fill, newest
from tests.kit.nats import NatsCluster, NatsServer
from tests.kit.waiting import eventually
from tests.unit.jetstream.rig import (
    LOGIN,
    Rig,
    administrator,
    answered,
    connected,
    on_uvloop,
    options,
)


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsCluster]:
    """A cluster, which each test leaves whole."""
    cluster = NatsCluster(tmp_path_factory.mktemp("cluster"))
    try:
        yield cluster.start()
    finally:
        cluster.close()


@pytest.fixture
def cluster(three: NatsCluster) -> Iterator[NatsCluster]:
    """The cluster, whose streams are gone after the test."""
    yield three
    asyncio.run(_empty(three.servers[0]))


async def _empty(server: NatsServer) -> None:
    async with administrator(server) as admin:
        await admin.delete_all()


async def publish(rig: Rig, token: str, number: int) -> Ack:
    """Publish as the engine does: the same id until somebody knows."""
    name = f"{token}-{number}"
    return await answered(partial(rig.api.publish, token, b"%d" % number, id=name, timeout=1))


async def prepared(rig: Rig) -> Info:
    """Have the stream, as soon as the servers have found each other after the test before."""
    return await answered(rig.prepare)


async def leader_of(rig: Rig) -> str:
    """Return the name of the server that leads the stream."""
    async with asyncio.timeout(60):
        while True:
            try:
                info = await rig.api.info()
            except Unavailable:
                continue
            if info.leader is not None:
                return info.leader


async def test_on_a_follower_nothing_is_missed_after_a_barrier(cluster: NatsCluster) -> None:
    async with connected(options(*cluster.urls, replicas=3, **LOGIN)) as any_rig:
        info = await prepared(any_rig)
        assert info.replicas == 3
        assert info.leader is not None
        leader = cluster.named(info.leader)
        (follower, *_) = [server for server in cluster.servers if server is not leader]
        async with (
            connected(options(leader.url, replicas=3, **LOGIN)) as there,
            connected(options(follower.url, replicas=3, **LOGIN)) as here,
        ):
            for number in range(100):
                token = f"r{number}"
                lives = await here.listen(token)
                before = [(await publish(there, token, number)).seq for number in (1, 2)]
                await eventually(lambda lives=lives: len(lives) == 2, "live messages")  # type: ignore[misc]
                assert [live.seq for live in lives] == before
                # One in ten of these a follower does not know yet.
                last = before[1]
                found = await answered(partial(fill, here.api, token, 0, last))
                assert [message.seq for message in found] == before
                (latest,) = await answered(partial(newest, here.api, token, 1))
                assert latest.seq == last
                assert await answered(partial(anchor, here.api, last, lives[1].at_ms))


@on_uvloop
async def test_a_leader_that_is_killed_takes_nothing_with_it(cluster: NatsCluster) -> None:
    async with connected(options(*cluster.urls, replicas=3, **LOGIN)) as rig:
        await prepared(rig)
        lives = await rig.listen("a")
        leader = cluster.named(await leader_of(rig))
        acks = [await publish(rig, "a", number) for number in range(20)]
        killing = asyncio.ensure_future(asyncio.to_thread(leader.kill))
        acks += [await publish(rig, "a", number) for number in range(20, 60)]
        await killing
        await asyncio.to_thread(leader.start)
        acks += [await publish(rig, "a", number) for number in range(60, 80)]
        # Each is stored once, whatever was said meanwhile.
        stored = await fill(rig.api, "a", 0, acks[-1].seq)
        assert [message.data for message in stored] == [b"%d" % number for number in range(80)]
        assert [message.seq for message in stored] == [ack.seq for ack in acks]
        assert [*dict.fromkeys(live.seq for live in lives)] == sorted({live.seq for live in lives})


async def test_without_a_majority_there_is_no_leader(cluster: NatsCluster) -> None:
    lonely = cluster.servers[0]
    async with connected(options(lonely.url, replicas=3, **LOGIN)) as rig:
        await prepared(rig)
        for server in cluster.servers[1:]:
            server.kill()
        try:
            # A leader that has not noticed yet still lets a barrier pass, and stores nothing.
            with pytest.raises(Unavailable):
                await rig.api.publish("a", b"x", id="1", timeout=1)
            await until_alone(rig)
        finally:
            for server in cluster.servers[1:]:
                server.begin()
        await leader_of(rig)
        ack = await publish(rig, "a", 1)
        assert ack.seq > 0
        assert rig.losses == []


async def until_alone(rig: Rig) -> None:
    """Wait until the last server has seen that it leads nobody: it answers so, or not at all."""
    async with asyncio.timeout(60):
        while True:
            try:
                if not (await rig.api.info(timeout=1)).has_leader:
                    return
            except Unavailable:
                return
            await asyncio.sleep(0.1)


async def test_a_server_in_lame_duck_mode_is_left(cluster: NatsCluster) -> None:
    first = cluster.servers[0]
    # The others are those that it has named.
    async with connected(options(first.url, **LOGIN)) as rig:
        first.send(signal.SIGUSR2)
        await rig.until_up(2)
        assert rig.losses == [f"{first.url} is about to stop"]
        assert rig.connection.server is not None
        assert rig.connection.server.name != first.name
    await asyncio.to_thread(first.kill)
    await asyncio.to_thread(first.start)
