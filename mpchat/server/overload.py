"""Overload control of one worker: what it takes in, what it refuses, and how fast it accepts.

Rules. Only what is new is limited, handshakes and plain requests, never a client that is connected. The
limit comes from ``congestion``, once a second, by this worker's own load. A refusal costs a third of a
handshake, so it is made before anything else is done for its request, and refusals are rationed: while a
limit is in force, a worker accepts no more sockets than it may take and refuse requests. Others wait in
the queues, as they do for a slow service, and siblings find its inbox full. They are accepted a few at a
time, since whoever is connected waits for what comes at once. A refusal closes: a client that asks again
on the same connection would pass by the queues.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
import socket
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from mpchat.components.handler_base import HandlerBase
from mpchat.congestion.controller import Controller, Reading, State
from mpchat.congestion.limiter import Ration, TokenBucket
from mpchat.congestion.sensor import Sensor
from mpchat.dynamic_config.snapshot import Snapshot
from mpchat.dynamic_config.variables import (
    RPS_CCONTROL,
    RPS_CCONTROL_ENABLED,
    RPS_CCONTROL_FACTOR,
    RPS_CCONTROL_STATUS,
    TASK_PROCESSOR_QOS,
)
from mpchat.http.errors import HttpError
from mpchat.linux.accounting import run_delay
from mpchat.server.admission import Admission
from mpchat.server.board import ServiceBoard
from mpchat.websocket.shared import Shared

_REFUSALS_PER_SECOND = 300.0
"""The ration. At a third of a handshake each, they take a fortieth of a worker's time."""
_REFUSALS_AT_ONCE = 30.0
_ACCEPTED_AT_ONCE = 8.0
_TURN_SECONDS = 0.005
"""Seconds of a busy loop's turn: what a worker may accept in it is not lost when it comes late."""
_SHORTEST_PAUSE = 0.001
"""Seconds for which a worker stops accepting, at least: the resolution of its loop's timers."""
_RETRY_AFTER = range(1, 6)
"""Seconds for Retry-After, in turn. The limit follows within seconds; who was refused at the same moment
comes back spread over them, not as the next wave."""

log = logging.getLogger("mpchat.server")


def _busy() -> float:
    """Return the seconds that this process has run, or its loop was ready to run and had no CPU."""
    return time.process_time() + (run_delay() or 0.0)


class CongestionPlan(NamedTuple):
    """How a worker of this service deals with overload."""

    pool: str
    """The task processor, by whose limits USERVER_TASK_PROCESSOR_QOS measures"""
    status_code: int
    """Of refusals"""
    fake_mode: bool
    """Limits are computed and not enforced"""


class Overload:
    """Overload control of one worker.

    ``pause`` stops accepting for so many seconds. ``busy`` returns the seconds, so far, for which the
    worker had something to do.
    """

    def __init__(
        self,
        plan: CongestionPlan,
        handlers: Sequence[HandlerBase],
        shared: Shared,
        admission: Admission,
        board: ServiceBoard,
        snapshot: Callable[[], Snapshot],
        pause: Callable[[float], None],
        busy: Callable[[], float] = _busy,
    ) -> None:
        self._plan = plan
        self._shared = shared
        self._admission = admission
        self._board = board
        self._snapshot = snapshot
        self._pause = pause
        # Options are models of pydantic, which take long to find an attribute.
        self._exempt = frozenset(
            handler.name for handler in handlers if not handler.options.throttling_enabled
        )
        self._enforces = not plan.fake_mode and len(self._exempt) < len(handlers)
        self._controller = Controller()
        self._sensor = Sensor(shared.clock, busy)
        self._bucket: TokenBucket | None = None
        self._limited_at = 0.0
        """When there was a limit where there had been none"""
        self._refusals = Ration(_REFUSALS_PER_SECOND, _REFUSALS_AT_ONCE, shared.clock)
        self._sockets = Ration(_REFUSALS_PER_SECOND, _ACCEPTED_AT_ONCE, shared.clock)
        self._retry_after = itertools.cycle(_RETRY_AFTER)
        self._host = socket.gethostname()
        self._timer: asyncio.TimerHandle | None = None
        self._is_lined_up = False
        self.config_changed()

    def accepted(self) -> None:
        """Count a socket that was accepted, and see to it that no more come than can be dealt with."""
        if self._bucket is not None:
            self._wait(self._sockets.spend())

    def takes(self, handler: HandlerBase) -> bool:
        """Count a new handshake or plain request, and return whether it is taken."""
        if handler.name in self._exempt:
            return True
        if self._bucket is not None and not self._bucket.take():
            return False
        self._sensor.load += 1
        return True

    def refusal(self, handler: HandlerBase) -> HttpError:
        """Count a refusal, and return it."""
        self._admission.throttled(handler)
        self._wait(self._refusals.spend())
        headers = {
            "Retry-After": str(next(self._retry_after)),
            "X-YaTaxi-Ratelimited-By": self._host,
            "X-YaTaxi-Ratelimit-Reason": "congestion-control",
            "Connection": "close",
        }
        return HttpError(self._status(), "the service is busy: try again later", headers)

    def config_changed(self) -> None:
        """Follow a new dynamic config."""
        if self._plan.fake_mode or self._snapshot()[RPS_CCONTROL_ENABLED]:
            if self._timer is None:
                self._sensor.begin()
                self._look_later()
        elif self._timer is not None:
            self.stop()
            self._controller = Controller()
            self._apply()
        self._show()

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._is_lined_up = False

    def _look_later(self) -> None:
        self._timer = self._shared.loop.call_later(self._sensor.next_look(), self._line_up)

    def _line_up(self) -> None:
        """Look when a message of a client that is connected would be served, were it here now."""
        self._is_lined_up = True
        self._shared.turn.line_up(self._shared.turn.open_line, self)

    def serve(self) -> None:
        """Look; the turn calls this."""
        if not self._is_lined_up:
            # It has been stopped meanwhile, and may have been started again.
            return
        self._is_lined_up = False
        most = self._snapshot()[TASK_PROCESSOR_QOS].of(self._plan.pool).sensor_time_limit_us
        reading = self._sensor.look(most / 1_000_000 if most else math.inf)
        if reading is not None:
            self._feed(reading)
        self._look_later()

    def _feed(self, reading: Reading) -> None:
        snapshot, controller = self._snapshot(), self._controller
        policy = snapshot[RPS_CCONTROL]
        workers = max(1, self._board.total("accepting"))
        before = controller.limit
        controller.feed(reading, policy, math.ceil(policy.min_limit / workers))
        self._apply()
        self._count(controller.state)
        self._tell(before, reading)
        limit = self._limit
        is_activated = limit is not None and limit < reading.load * snapshot[RPS_CCONTROL_FACTOR]
        self._board.row.set("congestion_activated", int(is_activated))
        self._show()

    @property
    def _limit(self) -> int | None:
        """The limit in force."""
        return self._controller.limit if self._enforces else None

    def _apply(self) -> None:
        limit = self._limit
        rate = (limit or 0) + _REFUSALS_PER_SECOND
        self._sockets.change(rate, max(_ACCEPTED_AT_ONCE, rate * _TURN_SECONDS))
        if limit is None:
            self._bucket = None
        elif self._bucket is None:
            self._limited_at = self._shared.clock()
            self._bucket = TokenBucket(limit, self._shared.clock)
        else:
            self._bucket.change(limit)

    def _wait(self, seconds: float) -> None:
        if seconds:
            self._shared.count_limit("congestion-control.pauses")
            self._pause(max(seconds, _SHORTEST_PAUSE))

    def _status(self) -> int:
        return (
            self._snapshot()[RPS_CCONTROL_STATUS].initial_status_code
            if self._is_new
            else self._plan.status_code
        )

    @property
    def _is_new(self) -> bool:
        """Whether refusals have the status of a new limit."""
        seconds = self._snapshot()[RPS_CCONTROL_STATUS].max_time_ms / 1000
        return self._bucket is not None and self._shared.clock() - self._limited_at < seconds

    def _count(self, state: State) -> None:
        counters = self._shared.counters
        match state:
            case State.NO_LIMIT:
                counters.congestion_no_limit += 1
            case State.NOT_OVERLOADED_NO_PRESSURE:
                counters.congestion_not_overloaded_no_pressure += 1
            case State.NOT_OVERLOADED_UNDER_PRESSURE:
                counters.congestion_not_overloaded_under_pressure += 1
            case State.OVERLOADED_NO_PRESSURE:
                counters.congestion_overloaded_no_pressure += 1
            case State.OVERLOADED_UNDER_PRESSURE:
                counters.congestion_overloaded_under_pressure += 1
                self._board.row.set("overloaded_at", int(time.monotonic() * 1000))

    def _tell(self, before: int | None, reading: Reading) -> None:
        after = self._controller.limit
        mode = "" if self._enforces else ", in fake-mode"
        if before is None and after is not None:
            text = "overloaded: from now on at most %d new requests per second of %d that came%s"
            log.warning(text, after, reading.load, mode)
        elif before is not None and after is None:
            log.warning("no longer overloaded: new requests are taken as they come%s", mode)

    def _show(self) -> None:
        row = self._board.row
        row.set("congestion_state", 1 + self._controller.state)
        row.set("congestion_limit", self._limit or 0)
        row.set("congestion_enforced", int(self._enforces and self._timer is not None))
        row.set("congestion_custom_status", int(self._is_new))
