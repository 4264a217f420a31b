"""The table of used tickets: each is claimed once, also by workers that are killed."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import signal

from hypothesis import given
from hypothesis import strategies as st

from mpchat.scoreboard.scoreboard import Scoreboard
from mpchat.scoreboard.tickets import PLACES, WINDOW, Claim
from mpchat.testsuite.service import wait_until

NOW = 1_764_374_400


def test_a_ticket_is_claimed_once_until_it_is_over() -> None:
    board = Scoreboard.create()
    mine, others = board.used_tickets(), Scoreboard(os.dup(board.descriptor)).used_tickets()
    assert mine.claim(7, NOW + 10, NOW) is Claim.CLAIMED
    for now in (NOW, NOW + 10):
        assert others.claim(7, NOW + 10, now) is Claim.USED
    assert others.claim(7 + PLACES, NOW + 10, NOW) is Claim.CLAIMED
    assert mine.key == others.key != Scoreboard.create().used_tickets().key


def test_a_full_table_refuses_until_tickets_are_over() -> None:
    used = Scoreboard.create().used_tickets()
    for number in range(WINDOW):
        assert used.claim(number * PLACES, NOW + number, NOW) is Claim.CLAIMED
    assert used.claim(WINDOW * PLACES, NOW + 30, NOW) is Claim.FULL
    assert used.claim(5 * PLACES, NOW + 5, NOW) is Claim.USED
    # The first is over.
    assert used.claim(WINDOW * PLACES, NOW + 30, NOW + 1) is Claim.CLAIMED
    assert used.claim(WINDOW * PLACES, NOW + 30, NOW + 1) is Claim.USED
    assert used.claim(5 * PLACES, NOW + 5, NOW + 1) is Claim.USED


@given(
    st.lists(
        st.tuples(
            st.integers(0, 6).map(lambda n: n * PLACES), st.integers(0, 30), st.integers(0, 3)
        )
    )
)
def test_no_ticket_is_accepted_twice(claims: list[tuple[int, int, int]]) -> None:
    used = Scoreboard.create().used_tickets()
    now, ends, accepted = NOW, dict[int, int](), set[int]()
    for number, lifetime, pause in claims:
        now += pause
        # A ticket has one end, whoever shows it.
        last = ends.setdefault(number, now + lifetime)
        if now <= last and used.claim(number, last, now) is Claim.CLAIMED:
            assert number not in accepted
            accepted.add(number)
    assert accepted == set(ends)


def hold(descriptor: int, ready: int) -> None:
    fcntl.lockf(descriptor, fcntl.LOCK_EX)
    os.write(ready, b"x")
    signal.pause()


def test_a_worker_that_is_killed_with_the_lock_keeps_nobody_waiting() -> None:
    board = Scoreboard.create()
    used = board.used_tickets()
    reader, writer = os.pipe()
    process = multiprocessing.get_context("fork").Process(
        target=hold, args=(board.descriptor, writer)
    )
    process.start()
    assert os.read(reader, 1) == b"x"
    # Nobody waits within a claim: the loop goes on.
    assert used.claim(1, NOW + 10, NOW) is Claim.BUSY
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    assert wait_until(lambda: used.claim(1, NOW + 10, NOW) is Claim.CLAIMED, "the lock")
    process.join()
    for descriptor in (reader, writer):
        os.close(descriptor)
