"""Passing sockets on, with a scoreboard and inboxes as in a service, and clients made of socket pairs."""

from __future__ import annotations

import array
import socket
from collections.abc import Iterator

import pytest

from mpchat.scoreboard.counters import Counters
from mpchat.scoreboard.scoreboard import Scoreboard
from mpchat.server.accepted import Accepted
from mpchat.server.balance import Balance
from mpchat.server.board import ServiceBoard
from mpchat.supervisor.inboxes import Inboxes

SLOTS = 3
NOW = 1000.0
"""The time, which stands still: on a busy machine a beat would be old by the next line."""


class Pool:
    """Slot 0 is the one whose balance is looked at."""

    def __init__(self) -> None:
        self.board = Scoreboard.create()
        self.board.set_service("slots", SLOTS)
        self.inboxes = Inboxes()
        self.rows = [self.board.row(slot, 0) for slot in range(SLOTS)]
        service = ServiceBoard(
            self.board, self.rows[0], self.board.addresses(0, 0), self.board.users(0, 0)
        )
        self.balance = Balance(service, 0, lambda: NOW)
        self.inboxes.grow(SLOTS)
        for slot in range(SLOTS):
            self.balance.add(slot, self.inboxes._ends[slot][1].dup())

    def set(self, *sockets: int) -> None:
        for row, count in zip(self.rows, sockets, strict=True):
            counters = Counters()
            counters.sockets = count
            row.publish(counters)
            row.set("accepting", 1)
            row.set("beat_at", int(NOW * 1000))

    def accept(self, own: int) -> bool:
        near, far = socket.socketpair()
        client = Accepted(near.detach(), socket.AF_UNIX)
        with far:
            passed_on = self.balance.pass_on(client, own)
            assert (client.fileno() == -1) == passed_on
            client.close()
        return passed_on

    def received(self, slot: int) -> int:
        count = 0
        while True:
            try:
                _content, ancillary, _flags, _address = self.inboxes.of(slot).recvmsg(1, 64)
            except BlockingIOError:
                return count
            socket.socket(fileno=array.array("i", ancillary[0][2])[0]).close()
            count += 1


@pytest.fixture
def pool() -> Iterator[Pool]:
    pool = Pool()
    yield pool
    pool.balance.close()
    pool.inboxes.close()


def test_what_is_over_the_fair_share_goes_to_the_emptiest(pool: Pool) -> None:
    pool.set(60, 20, 10)
    assert [pool.accept(60) for _ in range(12)] == [True] * 12
    assert (pool.received(1), pool.received(2)) == (1, 11)


def test_nobody_gets_more_than_the_fair_share(pool: Pool) -> None:
    pool.set(60, 29, 28)
    assert [pool.accept(60) for _ in range(30)].count(True) == 21
    assert (pool.received(1), pool.received(2)) == (10, 11)


def test_a_worker_keeps_what_it_may_have(pool: Pool) -> None:
    pool.set(30, 30, 24)
    assert not pool.accept(30)


def test_who_does_not_accept_gets_none(pool: Pool) -> None:
    pool.set(60, 20, 10)
    pool.rows[2].set("accepting", 0)
    assert pool.accept(60)
    assert (pool.received(1), pool.received(2)) == (1, 0)


def test_who_does_not_beat_gets_none(pool: Pool) -> None:
    pool.set(60, 20, 10)
    pool.rows[2].set("beat_at", int((NOW - 1) * 1000))
    assert pool.accept(60)
    assert (pool.received(1), pool.received(2)) == (1, 0)


def test_a_full_inbox_keeps_the_connection_here(pool: Pool) -> None:
    pool.set(1000, 0, 0)
    pool.rows[1].set("accepting", 0)
    passed_on = 0
    while pool.accept(1000):
        passed_on += 1
    assert 10 <= passed_on <= 60
    assert pool.received(2) == passed_on


def test_alone_it_keeps_all(pool: Pool) -> None:
    pool.set(1000, 0, 0)
    pool.rows[1].set("accepting", 0)
    pool.rows[2].set("accepting", 0)
    assert not pool.accept(1000)


def test_a_worker_that_retires_counts_for_its_slot(pool: Pool) -> None:
    pool.set(60, 0, 30)
    counters = Counters()
    counters.sockets = 60
    pool.board.row(1, 1).publish(counters)
    assert pool.accept(60)
    assert (pool.received(1), pool.received(2)) == (0, 1)
