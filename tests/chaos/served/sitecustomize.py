"""Switches one measure off in every process of a tortured service: the torture has to notice.

Python imports this module first in each process, since its folder is in PYTHONPATH; a variable names
the measure. What is patched in here stands in the product's code; the product has no option for it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

WITHOUT = "MPCHAT_CHAOS_WITHOUT"


def _replace(owner: Any, name: str, new: Callable[..., Any]) -> None:
    setattr(owner, name, new)


def _plant(function: str, old: str, new: str) -> None:
    """Change what a connection does, when that is imported."""
    # At the end: nothing of this folder's hides what the service imports.
    sys.path.append(str(Path(__file__).parents[3]))
    from tests.mutants import Mutation, plant

    plant(Mutation("mpchat.websocket.life", function, old, new))


def spread() -> None:
    """A drain closes all connections at once."""
    from mpchat.server import server

    _replace(server, "closing_times", lambda count, *_: [0.0] * count)


def answers() -> None:
    """A drain closes without waiting for the handler."""
    _plant("Life.drain", "self._on(Event.DRAIN)", "self.close(code, '')")


def close_handshake() -> None:
    """A drain cuts connections off."""
    _plant("Life.drain", "self._on(Event.DRAIN)", "self.abort()")


def kept_sockets() -> None:
    """Listening sockets belong to workers and end with them, as those of most servers do."""
    from mpchat.server.accepting import Acceptor
    from mpchat.supervisor.listeners import Listeners

    # Bound as before, to keep the port, and not listening.
    _replace(Listeners, "_listen", lambda *_: None)
    add = Acceptor.add

    def add_own(self: Acceptor, given: list[socket.socket]) -> None:
        own = []
        for listening in given:
            if listening.family == socket.AF_UNIX:
                own.append(listening)
                continue
            sock = socket.socket(listening.family)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            sock.bind(listening.getsockname())
            sock.listen(4096)
            own.append(sock)
        add(self, own)

    _replace(Acceptor, "add", add_own)


def continued_totals() -> None:
    """A new worker counts from zero."""
    from mpchat.scoreboard.scoreboard import Row

    init = Row.__init__

    def begin_anew(self: Row, items: memoryview, *others: memoryview) -> None:
        for index in range(len(items)):
            items[index] = 0
        init(self, items, *others)

    _replace(Row, "__init__", begin_anew)


def farewell() -> None:
    """Nobody notices that the supervisor is gone."""
    from mpchat.monitor.monitor import _Watched
    from mpchat.worker.worker import _Worker

    finish = _Worker._finish

    def stay(self: _Worker, code: int | None) -> None:
        if code is not None:
            finish(self, code)

    _replace(_Worker, "_finish", stay)
    _replace(_Watched, "kill_after", lambda *_: None)


def passing_on() -> None:
    """A worker keeps what it accepts."""
    from mpchat.server.balance import Balance

    _replace(Balance, "pass_on", lambda *_: False)


def kept_inboxes() -> None:
    """What was passed on to a worker ends with it."""
    from mpchat.supervisor.pool import Pool

    ended = Pool.ended

    def end_with_inbox(self: Pool, worker: Any, *given: Any) -> None:
        inbox = self._sockets.inboxes.of(worker.slot)
        with contextlib.suppress(BlockingIOError):
            while True:
                # The descriptors that come with it are left behind by not asking for them.
                inbox.recv(1)
        ended(self, worker, *given)

    _replace(Pool, "ended", end_with_inbox)


def hang_detection() -> None:
    """A worker may stand still for ever."""
    from mpchat.supervisor.editions import Editions, Loaded

    promote = Editions.promote

    def wait_for_ever(self: Editions, loaded: Loaded) -> None:
        plan = dataclasses.replace(loaded.plan, hang_timeout=1e9)
        promote(self, dataclasses.replace(loaded, plan=plan))

    _replace(Editions, "promote", wait_for_ever)


def adoption() -> None:
    """Nobody accepts for a slot whose worker does not."""
    from mpchat.supervisor.adoption import Adoption

    _replace(Adoption, "assign", lambda *_: [])


def backoff() -> None:
    """A worker that crashed is started again at once."""
    from mpchat.supervisor.backoff import Backoff

    _replace(Backoff, "failed", lambda *_: 0.0)


def new_before_old() -> None:
    """A restart ends the old workers first."""
    from mpchat.supervisor.restarting import Restarting

    ask = Restarting.ask

    def end_and_ask(self: Restarting, *given: Any) -> None:
        for child in self._pool._children.values():
            child.kill()
        ask(self, *given)

    _replace(Restarting, "ask", end_and_ask)


MEASURES = {
    measure.__name__: measure
    for measure in (
        spread,
        answers,
        close_handshake,
        kept_sockets,
        continued_totals,
        farewell,
        passing_on,
        kept_inboxes,
        hang_detection,
        adoption,
        backoff,
        new_before_old,
    )
}

if name := os.environ.get(WITHOUT):
    MEASURES[name]()
