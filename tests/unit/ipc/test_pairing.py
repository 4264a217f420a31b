"""The end that a worker has of its pair: the newest is passed on, and none is lost in silence."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from mpchat.ipc.messages import BrokerPair
from mpchat.ipc.pairing import BrokerPairs


class Rig:
    def __init__(self) -> None:
        self.lost: list[int] = []
        self.taken: list[tuple[int, socket.socket]] = []
        self.peers: list[socket.socket] = []
        self.pairs = BrokerPairs(self.lost.append)

    def arrives(self, number: int) -> None:
        near, far = socket.socketpair()
        self.peers.append(near)
        self.pairs.arrived(BrokerPair(number, 1), [far.detach()])

    def take(self, pair: BrokerPair, end: socket.socket) -> None:
        self.taken.append((pair.pair, end))

    def close(self) -> None:
        for sock in (*self.peers, *(end for _pair, end in self.taken)):
            sock.close()


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig()
    yield rig
    rig.close()


def test_the_newest_pair_waits_for_who_takes_it(rig: Rig) -> None:
    assert rig.pairs.held() == []
    rig.arrives(1)
    rig.arrives(2)
    # Nobody could have used the first: the broker sees its end.
    assert rig.peers[0].recv(1) == b""
    rig.pairs.follow(rig.take)
    assert [pair for pair, _end in rig.taken] == [2]
    rig.arrives(3)
    assert [pair for pair, _end in rig.taken] == [2, 3]
    # From then on ends are closed by who has taken them.
    rig.peers[1].setblocking(False)
    with pytest.raises(BlockingIOError):
        rig.peers[1].recv(1)


def test_what_forked_processes_must_not_keep_is_the_open_end(rig: Rig) -> None:
    rig.arrives(1)
    (descriptor,) = rig.pairs.held()
    assert os.fstat(descriptor)
    rig.pairs.follow(rig.take)
    assert rig.pairs.held() == [rig.taken[0][1].fileno()]
    rig.taken[0][1].close()
    assert rig.pairs.held() == []


def test_without_a_descriptor_another_pair_is_asked_for(rig: Rig) -> None:
    rig.pairs.follow(rig.take)
    rig.pairs.arrived(BrokerPair(7, 1), [])
    assert rig.lost == [7]
    assert rig.taken == []
