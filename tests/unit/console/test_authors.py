"""The authors' metrics as the console has them."""

from __future__ import annotations

import errno
import os
from types import SimpleNamespace
from typing import Any

import pytest

from mpchat.console.authors import AuthorsMetrics
from mpchat.console.process import Console
from mpchat.ipc import messages
from mpchat.ipc.channel import Channel
from mpchat.linux import system
from mpchat.metrics.directory import Entry
from mpchat.metrics.families import Family, Sample
from mpchat.metrics.memory import Memory
from mpchat.scoreboard.scoreboard import Scoreboard
from tests.kit.descriptors import descriptors_open

ORDERS = Entry("orders", "counter", "orders", "Orders taken", (), ())


def test_it_reads_what_it_is_given_and_nothing_else() -> None:
    before = descriptors_open()
    board = Scoreboard.create()
    board.set_service("slots", 1)
    authors = AuthorsMetrics(board)
    assert authors.collect() == []
    old, new = (Memory.create((ORDERS,)) for _ in range(2))
    for memory, count in ((old, 1), (new, 20)):
        with memory.area(0, 0) as area:
            area[0] = count
    for given, total in (([old], 1), ([new, old], 21), ([new], 20)):
        authors.replace([os.dup(memory.descriptor) for memory in given])
        family = Family("orders", "counter", "orders", "Orders taken", (Sample((), total),))
        assert authors.collect() == [family]
    with pytest.raises(OSError, match="Bad file descriptor"):
        authors.replace([os.dup(old.descriptor), 10**6])
    assert authors.collect()[0].samples[0].value == 20
    authors.replace([])
    for memory in (old, new):
        memory.close()
    board.close()
    assert descriptors_open() == before


@pytest.mark.parametrize("refused", ["the descriptor", "the mapping"])
async def test_a_console_that_cannot_have_new_memories_ends(
    refused: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_given: object) -> None:
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    board, memory = Scoreboard.create(), Memory.create((ORDERS,))
    near, far = Channel.pair()
    anything: Any = SimpleNamespace()
    known: Any = SimpleNamespace(authors=AuthorsMetrics(board))
    console = Console(Channel(far), anything, known, 1.0, None)
    messages.send(near, messages.MetricsMemories(), [memory.descriptor])
    console._read()
    assert [family.name for family in known.authors.collect()] == ["orders"]
    assert not console._end.is_set()
    if refused == "the descriptor":
        messages.send(near, messages.MetricsMemories())
    else:
        messages.send(near, messages.MetricsMemories(), [memory.descriptor])
        monkeypatch.setattr(system, "mmap", refuse)
    console._read()
    assert console._end.is_set()
    known.authors.replace([])
    near.close()
    far.close()
    memory.close()
    board.close()
