"""The pool of workers: what is answered is so by then."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

from mpchat.scoreboard.scoreboard import WORKER_STATES, Scoreboard
from mpchat.supervisor.pool import Pool
from mpchat.supervisor.timing import Timing


def test_the_status_has_new_workers_before_the_answer_that_they_are_ready() -> None:
    board = Scoreboard.create()
    anything: Any = MagicMock()
    editions: Any = MagicMock(edition=1, stop_limit=1.0, max_lifetime=None)
    editions.current.plan.workers = 1
    family: Any = SimpleNamespace(workers={})
    forks: Any = MagicMock(request_worker=lambda *_: MagicMock(pid=1, ready=False))
    pool = Pool(editions, anything, Timing(), anything, board, family, forks, anything)
    shown: list[list[int]] = []
    pool.start(0.0)
    pool.scale(2, 0.0, lambda _text: shown.append([board.slot(n, "state_0") for n in range(2)]))
    for number, worker in family.workers.items():
        worker.number = number
        pool.became_ready(worker, 1.0)
    assert not shown
    pool.tick(1.0)
    assert shown == [[WORKER_STATES.index("ready")] * 2]
    board.close()
