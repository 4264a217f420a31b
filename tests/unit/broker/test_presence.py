"""Who is in a room, and who is told."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mpchat.broker.presence import LARGEST
from mpchat.ipc import answering, asking
from mpchat.ipc import rooms as kinds
from mpchat.ipc.rooms import Change, Listed
from tests.unit.broker.rig import KIB, Rig


def test_members_with_info_are_listed_and_others_counted(rig: Rig) -> None:
    near, far = rig.worker(1), rig.worker(2)
    near.join(b"a", 1, info=b'{"name": "ann"}', user=b"ann")
    near.join(b"a", 2)
    far.join(b"a", 1, info=b"{}")
    (page,) = far.members(b"a")
    assert page.flags == kinds.LISTS
    assert page.total == 3
    assert sorted(page.entries) == [
        Listed(1, 1, b"ann", b'{"name": "ann"}'),
        Listed(2, 1, b"", b"{}"),
    ]


def test_joins_and_leaves_are_told_to_the_rooms_workers(rig: Rig) -> None:
    near, far, other = rig.worker(1), rig.worker(2), rig.worker(3)
    far.join(b"a")
    other.join(b"b")
    answer = near.join(b"a", 1, info=b"{}", user=b"ann")
    assert answer.flags & kinds.LISTS
    ann = Listed(1, 1, b"ann", b"{}")
    assert far.hints() == [answering.Presence(Change.JOINED, b"a", ann)]
    near.say(asking.Leave(b"a", 1, True).pack())
    assert far.hints() == [answering.Presence(Change.LEFT, b"a", ann)]
    assert not near.hints(), "it has nobody there any more"
    assert not other.hints()
    near.say(asking.Leave(b"a", 1, True).pack(), asking.Leave(b"z", 9, True).pack())
    assert not far.hints()


def test_members_that_are_only_counted_cost_no_hints(rig: Rig) -> None:
    near, far = rig.worker(1), rig.worker(2)
    far.join(b"a")
    near.join(b"a", 1)
    near.say(asking.Leave(b"a", 1, False).pack())
    assert not far.hints()
    assert rig.broker.members.total == 1


def test_a_workers_last_member_ends_what_it_is_sent(rig: Rig) -> None:
    near, far = rig.worker(1), rig.worker(2)
    near.join(b"a", 1)
    near.join(b"a", 2, info=b"{}")
    near.say(asking.Leave(b"a", 1, False).pack())
    far.publish(b"a")
    assert near.records()
    near.say(asking.Leave(b"a", 2, True).pack())
    far.publish(b"a")
    assert not near.records()
    assert b"a" not in rig.broker.members.rooms


def test_a_dead_worker_has_no_members_at_once_and_hints_come_a_few_in_a_turn(rig: Rig) -> None:
    near, far = rig.worker(1), rig.worker(2)
    far.join(b"a", info=b"{}")
    for member in range(500):
        near.say(asking.Join(member, b"a", member, None, b"", b"{}").pack())
    far.heard()
    near.pair.connection_lost(None)
    assert rig.broker.members.total == 1
    rig.once()
    rig.once()
    assert 0 < len(far.hints()) < 500
    rig.turn()
    assert far.hints()
    (page,) = far.members(b"a")
    assert [entry.incarnation for entry in page.entries] == [2]


def test_all_hints_about_a_dead_worker_are_given(rig: Rig) -> None:
    near, far = rig.worker(1), rig.worker(2)
    far.join(b"a", info=b"{}")
    far.join(b"b", info=b"{}")
    for member in range(450):
        near.say(
            asking.Join(1, b"a", member, None, b"", b"{}").pack(),
            asking.Join(2, b"b", member, None, b"", b"{}").pack(),
        )
    far.heard()
    near.die()
    left = [hint.listed for hint in far.hints() if hint.room == b"a"]
    assert left == [Listed(1, member, b"", b"{}") for member in range(450)]


def test_presence_is_off_in_a_large_room_and_said_so(rig: Rig) -> None:
    near, far = rig.worker(1), rig.worker(2)
    far.join(b"a", info=b"{}")
    for member in range(LARGEST - 1):
        near.say(asking.Join(1, b"a", member).pack())
    assert not far.hints()
    assert near.join(b"a", 5000).flags & kinds.LISTS == 0
    assert [hint.change for hint in far.hints()] == [Change.OFF]
    near.join(b"a", 5001, info=b"{}")
    assert not far.hints()
    (page,) = far.members(b"a")
    assert (page.flags, page.total, page.entries) == (0, LARGEST + 2, [])
    for member in range(101):
        near.say(asking.Leave(b"a", member, False).pack())
    assert not far.hints(), "it is not on and off with each member"
    near.say(asking.Leave(b"a", 200, False).pack())
    assert [hint.change for hint in far.hints()] == [Change.ON]
    (page,) = far.members(b"a")
    assert len(page.entries) == 2


def test_a_large_room_whose_worker_dies_has_presence_again(rig: Rig) -> None:
    near, far = rig.worker(1), rig.worker(2)
    far.join(b"a", info=b"{}")
    for member in range(LARGEST + 5):
        near.say(asking.Join(1, b"a", member, None, b"", b"{}").pack())
    far.heard()
    near.die()
    assert [hint.change for hint in far.hints()] == [Change.ON], "nobody knew who was there"


def test_a_room_that_is_announced_large_has_no_presence(rig: Rig) -> None:
    near, far = rig.worker(1), rig.worker(2)
    far.join(b"a", info=b"{}")
    assert not near.subscribe(b"a", LARGEST).flags & kinds.LISTS
    assert [hint.change for hint in far.hints()] == [Change.OFF]


def test_members_are_announced_to_a_new_broker_without_hints_or_answers(rig: Rig) -> None:
    near, far = rig.worker(1), rig.worker(2)
    far.join(b"a", info=b"{}")
    near.subscribe(b"a", 2)
    near.say(asking.Join(0, b"a", 7, None, b"ann", b"{}", announced=True).pack())
    assert not far.hints()
    assert not near.heard()
    (page,) = far.members(b"a")
    assert page.total == 4
    assert Listed(1, 7, b"ann", b"{}") in page.entries
    far.publish(b"a")
    assert near.records()


def test_a_long_list_comes_in_pages(rig: Rig) -> None:
    worker = rig.worker(1)
    for member in range(200):
        worker.say(asking.Join(1, b"a", member, None, b"", bytes(4 * KIB)).pack())
    worker.heard()
    pages = worker.members(b"a")
    assert len(pages) == 4
    assert [bool(page.flags & kinds.MORE) for page in pages] == [True, True, True, False]
    assert [entry.member for page in pages for entry in page.entries] == list(range(200))


def test_hints_that_a_worker_does_not_read_are_dropped(rigs: Callable[..., Rig]) -> None:
    rig = rigs(worker_backlog=16 * KIB)
    slow, busy = rig.worker(1), rig.worker(2)
    slow.join(b"a")
    slow.wire.is_stopped = True
    for member in range(100):
        busy.say(asking.Join(1, b"a", member, None, b"", bytes(KIB)).pack())
    assert slow.wire.most < 18 * KIB


def test_presence_switched_off(rigs: Callable[..., Rig]) -> None:
    rig = rigs(presence=False)
    near, far = rig.worker(1), rig.worker(2)
    far.join(b"a", info=b"{}")
    assert near.join(b"a", 1, info=b"{}").flags == kinds.RECOVERED
    assert not far.hints()
    (page,) = far.members(b"a")
    assert (page.flags, page.total, page.entries) == (0, 2, [])
    near.say(asking.Leave(b"a", 1, True).pack())
    assert rig.broker.members.total == 1


@pytest.mark.parametrize("info", [None, b"{}"])
def test_a_worker_that_unsubscribes_has_nobody_there(rig: Rig, info: bytes | None) -> None:
    near, far = rig.worker(1), rig.worker(2)
    far.join(b"a", info=b"{}")
    near.join(b"a", 1, info=info)
    near.join(b"a", 2)
    far.heard()
    near.say(asking.Unsubscribe(b"a").pack())
    assert rig.broker.members.total == 1
    assert len(far.hints()) == (info is not None)
    far.publish(b"a")
    assert not near.records()
