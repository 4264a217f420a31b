"""Who is in the rooms of this host elsewhere: told by announcements that nobody stores."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from mpchat.broker.nats.wire import pack_body
from mpchat.broker.presence import LARGEST
from mpchat.ipc import asking
from mpchat.ipc import rooms as kinds
from mpchat.ipc.records import CLOSED
from mpchat.ipc.rooms import LISTS, Change
from mpchat.jetstream.subjects import token_of
from tests.unit.broker.nats.rig import Host, Scene, Worker, scene
from tests.unit.broker.nats.stream import Line

MOMENT = 0.1
"""Seconds in which what hosts say is heard."""


async def infos(worker: Worker, room: bytes = b"a") -> list[str]:
    """Return who is listed, and how many others there are."""
    page = await worker.members(room)
    listed = sorted(entry.info.decode() for entry in page.entries)
    return [*listed, *["?"] * (page.total - len(listed))]


async def enter(worker: Worker, member: int, name: str = "", room: bytes = b"a") -> None:
    info = json.dumps(name).encode() if name else None
    await worker.join(room, member, info=info, user=name.encode())


def leave(worker: Worker, member: int, *, listed: bool = True, room: bytes = b"a") -> None:
    worker.say(asking.Leave(room, member, listed).pack())


def counted(*hosts: Host) -> list[int]:
    """Return each host's own members, as it counts them."""
    return [host.broker.status()["members"] for host in hosts]


def unheard(scene: Scene, *words: str, line: Line | None = None) -> list[dict[str, Any]]:
    """Have announcements with any of these words be lost, from now on; return them."""
    lost: list[dict[str, Any]] = []

    def is_unheard(to: Line, subject: str, data: bytes) -> bool:
        said = json.loads(data)
        if (line is None or to is line) and any(word in said for word in words):
            lost.append(said)
            return True
        return False

    scene.stream.is_unheard = is_unheard
    return lost


@scene
async def test_hosts_tell_each_other_who_is_there(scene: Scene) -> None:
    near, far = scene.host(), scene.host()
    one, other = near.worker(), far.worker()
    await enter(one, 1, "ann")
    await enter(one, 2)
    await enter(other, 1, "bob")
    await asyncio.sleep(MOMENT)
    assert await infos(one) == await infos(other) == ['"ann"', '"bob"', "?"]
    assert one.changes() == [Change.JOINED, Change.JOINED], "its own, too"
    await enter(one, 3, "cleo")
    leave(one, 1)
    await asyncio.sleep(MOMENT)
    assert await infos(one) == await infos(other) == ['"bob"', '"cleo"', "?"]
    assert sorted(other.changes()[-2:]) == [Change.JOINED, Change.LEFT]
    leave(one, 2, listed=False)
    await asyncio.sleep(MOMENT)
    assert await infos(other) == ['"bob"', '"cleo"']
    assert counted(near, far) == [1, 1]


@scene
async def test_who_comes_last_hears_of_all_before(scene: Scene) -> None:
    workers = [scene.host().worker() for _ in range(4)]
    for number, worker in enumerate(workers):
        await enter(worker, 1, f"m{number}")
    await asyncio.sleep(MOMENT)
    for worker in workers:
        assert await infos(worker) == ['"m0"', '"m1"', '"m2"', '"m3"']


@scene
async def test_members_with_the_same_number_on_several_hosts_are_different_ones(
    scene: Scene,
) -> None:
    workers = [scene.host().worker(7) for _ in range(3)]
    for number, worker in enumerate(workers):
        await enter(worker, 5, f"m{number}")
    await asyncio.sleep(MOMENT)
    leave(workers[1], 5)
    await enter(workers[1], 6)
    await asyncio.sleep(MOMENT)
    assert await infos(workers[0]) == await infos(workers[2]) == ['"m0"', '"m2"', "?"]


@scene
async def test_one_counted_member_of_each_host(scene: Scene) -> None:
    near, far = scene.host(), scene.host()
    one, other = near.worker(), far.worker()
    await enter(one, 1)
    await enter(other, 1)
    await asyncio.sleep(MOMENT)
    assert await infos(one) == await infos(other) == ["?", "?"]
    leave(one, 1, listed=False)
    await asyncio.sleep(MOMENT)
    assert await infos(other) == ["?"]
    assert list(near.broker.members.rooms) == []
    assert counted(near, far) == [0, 1]


@scene
async def test_a_host_hears_nothing_of_rooms_that_it_has_not(scene: Scene) -> None:
    near, far = scene.host(), scene.host()
    await enter(near.worker(), 1, "ann")
    await enter(far.worker(), 1, room=b"b")
    await asyncio.sleep(MOMENT)
    assert list(far.broker.members.rooms) == [b"b"]
    assert near.broker.members.total == far.broker.members.total == 1


@scene
async def test_who_leaves_and_comes_back_is_there_once(scene: Scene) -> None:
    near, far = scene.host(), scene.host()
    one, other = near.worker(), far.worker()
    await enter(other, 1)
    for number in range(4):
        await enter(one, number, f"m{number}")
        await asyncio.sleep(MOMENT)
        assert await infos(other) == [f'"m{number}"', "?"]
        leave(one, number)
        await asyncio.sleep(MOMENT)
        assert await infos(other) == ["?"]
    for number in range(4):
        await enter(one, number, f"m{number}")
        leave(one, number)
    await asyncio.sleep(MOMENT)
    assert await infos(other) == ["?"]
    assert counted(near, far) == [0, 1]


@scene
async def test_an_announcement_that_is_lost_is_found_by_the_next(scene: Scene) -> None:
    one, other = scene.host().worker(), scene.host().worker()
    await enter(one, 1, "ann")
    await enter(other, 1)
    await asyncio.sleep(MOMENT)
    lost = unheard(scene, "counted")
    leave(one, 1)
    await enter(one, 2, "bob")
    await asyncio.sleep(MOMENT)
    assert lost
    assert await infos(other) == ['"ann"', "?"]
    unheard(scene)
    await enter(one, 3, "cleo")
    await asyncio.sleep(MOMENT)
    assert await infos(other) == ['"bob"', '"cleo"', "?"]


@scene
async def test_the_last_announcement_that_is_lost_is_found_by_its_number(scene: Scene) -> None:
    one, other = scene.host().worker(), scene.host().worker()
    await enter(one, 1, "ann")
    await enter(other, 1)
    await asyncio.sleep(MOMENT)
    lost = unheard(scene, "counted")
    await enter(one, 2, "bob")
    await asyncio.sleep(MOMENT)
    assert len(lost) == 2, "to both lines"
    unheard(scene)
    await asyncio.sleep(30.0)
    assert await infos(other) == ['"ann"', "?"]
    await asyncio.sleep(40.0)
    assert await infos(other) == ['"ann"', '"bob"', "?"]


@scene
async def test_the_end_of_a_host_s_members_in_a_room_may_be_lost(scene: Scene) -> None:
    """Trap: it says no number again of a room that it has left."""
    near, far = scene.host(), scene.host()
    one, other = near.worker(), far.worker()
    await enter(one, 1, "ann")
    await enter(one, 2)
    await enter(other, 1)
    await asyncio.sleep(MOMENT)
    assert unheard(scene, "counted") == []
    one.say(asking.Unsubscribe(b"a").pack())
    await asyncio.sleep(MOMENT)
    unheard(scene)
    other.changes()
    await asyncio.sleep(30.0)
    assert await infos(other) == ['"ann"', "?", "?"]
    await asyncio.sleep(240.0)
    assert await infos(other) == ["?"]
    assert other.changes() == [Change.LEFT]
    assert counted(far) == [1]


@scene
async def test_members_who_stay_are_never_forgotten(scene: Scene) -> None:
    one, other = scene.host().worker(), scene.host().worker()
    await enter(one, 1, "ann")
    await enter(one, 2)
    await enter(other, 1)
    await asyncio.sleep(MOMENT)
    other.changes()
    await asyncio.sleep(600.0)
    assert await infos(other) == ['"ann"', "?", "?"]
    assert other.changes() == []


@scene
async def test_numbers_of_a_room_that_a_host_is_in_again_are_no_old_ones(scene: Scene) -> None:
    """Trap: a host that had left began with 1 again, and was taken for one that says nothing new."""
    one, other = scene.host().worker(), scene.host().worker()
    await enter(other, 1)
    await enter(one, 1, "ann")
    leave(one, 1)
    await asyncio.sleep(MOMENT)
    assert await infos(other) == ["?"]
    unheard(scene, "all")
    await enter(one, 2, "bob")
    await asyncio.sleep(MOMENT)
    unheard(scene)
    await enter(one, 3, "cleo")
    await asyncio.sleep(MOMENT)
    assert await infos(other) == ['"bob"', '"cleo"', "?"]


@scene
async def test_a_host_that_is_silent_has_no_members(scene: Scene) -> None:
    near, far = scene.host(), scene.host()
    one, other = near.worker(), far.worker()
    await enter(one, 1, "ann")
    await enter(one, 2)
    await enter(other, 1)
    await asyncio.sleep(5.0)
    near.kill()
    await asyncio.sleep(4.0)
    assert len(await infos(other)) == 3
    other.changes()
    await asyncio.sleep(6.0)
    assert await infos(other) == ["?"]
    assert other.changes() == [Change.LEFT]
    assert counted(far) == [1]


@scene
async def test_a_host_that_ends_has_no_members_at_once(scene: Scene) -> None:
    near, far = scene.host(), scene.host()
    one, other = near.worker(), far.worker()
    await enter(one, 1, "ann")
    await enter(other, 1)
    await asyncio.sleep(3.0)
    other.changes()
    await near.broker.end()
    await asyncio.sleep(MOMENT)
    assert await infos(other) == ["?"]
    assert other.changes() == [Change.LEFT]


@scene
async def test_a_host_that_was_away_is_heard_again(scene: Scene) -> None:
    near, far = scene.host(), scene.host()
    one, other = near.worker(), far.worker()
    await enter(one, 1, "ann")
    await enter(other, 1, "bob")
    await asyncio.sleep(3.0)
    near.line.lose(20.0)
    await asyncio.sleep(10.0)
    assert await infos(other) == ['"bob"']
    assert await infos(one) == ['"ann"'], "it hears nothing of the others either"
    leave(one, 1)
    one.say(asking.Join(90, b"a", 2, None, b"", b'"cleo"').pack())
    await enter(other, 2)
    await asyncio.sleep(15.0)
    assert await infos(one) == await infos(other) == ['"bob"', '"cleo"', "?"]
    assert counted(near, far) == [1, 2]


@scene
async def test_many_members_are_announced_in_pages(scene: Scene) -> None:
    one, other = scene.host().worker(), scene.host().worker()
    await enter(other, 1)
    for member in range(300):
        one.say(asking.Join(member, b"a", member, None, b"", b'"%s"' % (b"x" * 4000)).pack())
    await asyncio.sleep(MOMENT)
    assert (await other.members(b"b")).total == 0
    other.say(asking.Members(1, b"a").pack())
    assert len(await other.get(kinds.MEMBERS_PAGE, 5)) == 5
    await enter(other, 2)
    assert scene.hosts[1].broker.members.total == 302
    sizes: list[int] = []

    def measure(line: Line, subject: str, data: bytes) -> bool:
        sizes.append(len(data))
        return False

    scene.stream.is_unheard = measure
    one.host.broker.came_back()
    await asyncio.sleep(MOMENT)
    assert scene.hosts[1].broker.members.total == 302
    assert max(sizes) < 300 * 1024
    assert sum(size > 100_000 for size in sizes) >= 10, "to two lines"


@scene
async def test_presence_is_off_where_all_hosts_have_too_many(scene: Scene) -> None:
    near, far = scene.host(), scene.host()
    one, other = near.worker(), far.worker()
    await enter(one, 0, "ann")
    await enter(other, 0, "bob")
    await asyncio.sleep(MOMENT)
    for member in range(1, LARGEST):
        one.say(asking.Join(member, b"a", member).pack())
    await asyncio.sleep(MOMENT)
    for worker in (one, other):
        page = await worker.members(b"a")
        assert (page.flags & LISTS, page.total, page.entries) == (0, LARGEST + 1, [])
        assert Change.OFF in worker.changes()
    for member in range(1, 150):
        leave(one, member, listed=False)
    await asyncio.sleep(MOMENT)
    for worker in (one, other):
        page = await worker.members(b"a")
        assert page.flags & LISTS
        assert page.total == LARGEST + 1 - 149
        assert sorted(entry.info for entry in page.entries) == [b'"ann"', b'"bob"']
        assert worker.changes()[0] is Change.ON


@pytest.mark.parametrize("how", ["leave", "silence"])
@scene
async def test_presence_that_is_on_again_lists_those_who_came_meanwhile(
    scene: Scene, how: str
) -> None:
    """Trap: who came while it was off was announced as a number, and nobody said more."""
    near, far, third = scene.host(), scene.host(), scene.host()
    one, other, last = near.worker(), far.worker(), third.worker()
    await enter(other, 0, "bob")
    await enter(last, 0, "cleo")
    for member in range(1, LARGEST + 10):
        one.say(asking.Join(member, b"a", member).pack())
    await asyncio.sleep(MOMENT)
    await enter(other, 1, "dan")
    await asyncio.sleep(MOMENT)
    assert not (await last.members(b"a")).flags & LISTS
    if how == "leave":
        one.say(asking.Unsubscribe(b"a").pack())
        await asyncio.sleep(MOMENT)
    else:
        near.kill()
        await asyncio.sleep(15.0)
    assert await infos(other) == await infos(last) == ['"bob"', '"cleo"', '"dan"']


@scene
async def test_a_closed_room_has_no_members_of_other_hosts(scene: Scene) -> None:
    near, far = scene.host(), scene.host()
    one, other = near.worker(), far.worker()
    for member in range(3):
        await enter(one, member, f"m{member}")
        await enter(other, member)
    await asyncio.sleep(MOMENT)
    scene.stream.store(token_of(b"a"), pack_body(CLOSED, 0, b"", b""))
    await asyncio.sleep(MOMENT)
    assert counted(near, far) == [0, 0]
    assert near.broker.members.total == far.broker.members.total == 0
    await enter(one, 7, "new")
    await enter(other, 7)
    await asyncio.sleep(MOMENT)
    assert await infos(one) == await infos(other) == ['"new"', "?"]
    assert counted(near, far) == [1, 1]


@scene
async def test_who_joins_a_closed_room_before_another_host_has_heard_of_it_is_there(
    scene: Scene,
) -> None:
    near, far = scene.host(), scene.host()
    one, other = near.worker(), far.worker()
    await enter(one, 1, "ann")
    await enter(other, 1, "bob")
    await asyncio.sleep(MOMENT)
    # One host hears of the end late, and of the new member before that.
    far.line.fates((0.5,))
    scene.stream.store(token_of(b"a"), pack_body(CLOSED, 0, b"", b""))
    await asyncio.sleep(0.01)
    await enter(one, 2, "new")
    await asyncio.sleep(1.0)
    await enter(other, 3, "cleo")
    await asyncio.sleep(MOMENT)
    assert await infos(one) == await infos(other) == ['"cleo"', '"new"']
    assert counted(near, far) == [1, 1]


@scene
async def test_what_is_not_understood_is_told_and_harms_nobody(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    host = scene.host()
    worker = host.worker()
    await enter(worker, 1, "ann")
    await asyncio.sleep(MOMENT)
    room = scene.stream.options.subjects.control(f"room.{token_of(b'a')}")
    for data in (
        b"",
        b"[]",
        b"\xff",
        b'{"ask": true}',
        b'{"host": "x"}',
        b'{"host": "x", "n": "many"}',
        b'{"host": "x", "n": 1, "all": true, "counted": 1}',
        b'{"host": "x", "n": 1, "all": true, "counted": 1, "joined": [[1]]}',
        b'{"host": "x", "n": 1, "all": true, "counted": -1, "joined": []}',
    ):
        scene.stream.say(room, data)
    scene.stream.say(scene.stream.options.subjects.control("host"), b"{")
    await asyncio.sleep(MOMENT)
    assert len(caplog.records) == 10
    assert await infos(worker) == ['"ann"']
    assert host.broker.members.total == 1
    host.kill()


@scene
async def test_the_number_that_is_said_again_asks_for_what_nobody_knows(scene: Scene) -> None:
    host = scene.host()
    worker = host.worker()
    await enter(worker, 1)
    await asyncio.sleep(MOMENT)
    heard: list[dict[str, Any]] = []

    def note(line: Line, subject: str, data: bytes) -> bool:
        heard.append(json.loads(data))
        return False

    scene.stream.is_unheard = note
    room = scene.stream.options.subjects.control(f"room.{token_of(b'a')}")
    scene.stream.say(room, b'{"host": "x", "n": 5}')
    await asyncio.sleep(MOMENT)
    assert any(said.get("ask") for said in heard)
    scene.stream.say(room, b'{"host": "x", "n": 5, "all": true, "counted": 2, "joined": []}')
    heard.clear()
    scene.stream.say(room, b'{"host": "x", "n": 5}')
    await asyncio.sleep(MOMENT)
    assert not any(said.get("ask") for said in heard)
    assert (await worker.members(b"a")).total == 3
