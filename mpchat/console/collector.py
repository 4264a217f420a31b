"""The numbers of a service at one moment, from the scoreboard and /proc.

Rules. Nothing is asked of any process, so this works while all workers are stuck. A counter is the sum
over all rows of a slot, so it never falls, whatever dies. Of a slot that has two workers, gauges add up,
and of times the longer one counts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from mpchat import __version__
from mpchat.console import catalogue as c
from mpchat.console.processes import memory_families, process_families
from mpchat.console.updates import update_families
from mpchat.logs.writer import COUNTED_LEVELS
from mpchat.metrics.definition import Definition
from mpchat.metrics.families import Distribution, Family
from mpchat.scoreboard.broker import BROKER_STATES, NUMBERS
from mpchat.scoreboard.counters import LIMITS
from mpchat.scoreboard.handlers import CODES, INDEX, NOBODY, Served
from mpchat.scoreboard.histograms import MICROSECONDS, places
from mpchat.scoreboard.scoreboard import ROWS, WORKER_STATES, Scoreboard

T = TypeVar("T")

_VERSION = "2"
"""Of userver's label ``version`` of handlers"""
_MICROSECONDS = 1_000_000
"""Of a second"""
_READY = WORKER_STATES.index("ready")
_FIRST_CODE = INDEX[CODES[0]]


@dataclass(frozen=True)
class _Handler:
    """What was counted of a handler, and what it does now."""

    served: Served
    counts: list[int]
    current: int
    """Requests in flight, or open connections"""

    def __getitem__(self, name: str) -> int:
        return self.counts[INDEX[name]]

    @property
    def labels(self) -> tuple[str, str, str]:
        path = self.served.path.replace("{", "_").replace("}", "_")
        return self.served.name, path, _VERSION

    @property
    def codes(self) -> list[int]:
        return self.counts[_FIRST_CODE:]


class Collector:
    """Reads all metrics of one service; ``pool`` is the name of its task processor.

    ``certificates`` returns those in force, as ``tls.shown`` has them.
    """

    def __init__(
        self,
        scoreboard: Scoreboard,
        pool: str,
        certificates: Callable[[], Iterable[Mapping[str, Any]]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._board = scoreboard
        self._pool = pool
        self._certificates = certificates
        self._clock = clock

    def collect(self) -> list[Family]:
        """Return every metric that the service has now."""
        now = self._clock()
        slots = self._board.service("slots")
        return [
            *self._service(now),
            *update_families(self._board, now),
            *self._clients(slots),
            *self._handlers(slots),
            *self._congestion(slots, now),
            *self._distributions(slots),
            *self._workers(slots, now),
            *self._logs(slots),
            *process_families(self._processes(slots)),
            *memory_families(),
            *self._broker(now),
        ]

    def _service(self, now: float) -> Iterator[Family]:
        read = self._board.service
        yield c.INFO.family((((__version__,), 1),))
        yield c.UPTIME.single(_since(read("started"), now))
        yield c.SILENCE.single(_since(read("beat_at"), now))
        yield c.FAULTS.single(read("faults"))
        yield c.GENERATION.single(read("generation"))
        yield c.CERTIFICATES.family(_expiries(self._certificates()).items())
        yield c.PARSE_ERRORS.single(read("parse_errors"))
        yield c.PARSED.single(1 - read("parse_failed"))
        yield c.TEMPLATE_FORK.single(read("fork_us") / _MICROSECONDS)
        for definition, counter, results in (
            (c.RELOADS, "reloads", ("applied", "unconfirmed", "failed")),
            (c.RESTARTS, "restarts", ("done", "failed")),
        ):
            yield definition.family(((result,), read(f"{counter}_{result}")) for result in results)

    def _clients(self, slots: int) -> Iterator[Family]:
        def total(name: str) -> int:
            return self._board.total(name, slots)

        yield c.CONNECTIONS.single(total("sockets"))
        yield c.OPENED.single(total("accepted"))
        yield c.CLOSED.single(total("left"))
        yield c.REQUESTS.single(total("requests") + total("handshakes"))
        yield c.PARSING.single(total("parsing"))
        yield c.ACTIVE.single(total("answering"))
        yield c.PROXY_HEADERS.family(
            (
                (("taken",), total("proxied")),
                (("refused",), total("listener.proxy-protocol")),
            )
        )
        yield c.LIMITS.family(((name,), total(name)) for name in LIMITS)

    def _handlers(self, slots: int) -> Iterator[Family]:
        found = [
            _Handler(
                served,
                self._board.handler_counts(number, slots),
                self._board.handler_connections(number, slots),
            )
            for number, served in enumerate(self._directory())
        ]
        handlers = [one for one in found if one.served != NOBODY]
        plain = [one for one in handlers if not one.served.is_websocket]
        yield c.RPS.family((one.labels, sum(one.codes)) for one in handlers)
        yield c.CODES.family(
            ((*one.labels, str(code)), count)
            for one in handlers
            for code, count in zip(CODES, one.codes, strict=True)
            if count
        )
        yield c.IN_FLIGHT.family((one.labels, one.current) for one in plain)
        yield c.TOO_MANY.family((one.labels, one["too_many_in_flight"]) for one in handlers)
        yield c.RATE_REACHED.family((one.labels, one["too_many_per_second"]) for one in handlers)
        yield from _totals(found, plain)
        yield from _websockets([one for one in handlers if one.served.is_websocket])

    def _directory(self) -> list[Served]:
        directory = self._board.directory()
        try:
            return directory.all()
        finally:
            directory.release()

    def _congestion(self, slots: int, now: float) -> Iterator[Family]:
        """Return the metrics of congestion control, none in a service without it."""
        column = self._board.column
        # 0 stands for none; a worker that has ended has none either.
        state = max(column("congestion_state", slots), default=0)
        if not state:
            return
        limits = _by_slot(column("congestion_limit", slots))
        limited = [
            ((f"{self._pool}/{slot}",), sum(both)) for slot, both in enumerate(limits) if any(both)
        ]
        overloaded_at = max(column("overloaded_at", slots)) or self._board.service("started")
        yield c.CC_ENABLED.single(max(column("congestion_enforced", slots)))
        yield c.CC_ACTIVATED.single(max(column("congestion_activated", slots)))
        if limited:
            yield c.CC_LIMIT.single(sum(limit for _name, limit in limited))
        yield c.CC_STATE.single(state - 1)
        yield c.CC_LAST_OVERLOAD.single(_since(overloaded_at, now))
        yield c.CC_CUSTOM_STATUS.single(max(column("congestion_custom_status", slots)))
        for name, definition in c.CC_STATES.items():
            yield definition.single(self._board.total(name, slots))
        if limited:
            yield c.WORKER_LIMIT.family(limited)

    def _distributions(self, slots: int) -> Iterator[Family]:
        items = self._board.distributed(slots)
        for one, start in places():
            scale = _MICROSECONDS if one.unit == MICROSECONDS else 1
            *counts, total = items[start : start + len(one.bounds) + 2]
            bounds = tuple(bound / scale for bound in one.bounds)
            yield c.DISTRIBUTIONS[one.name].family(
                (((), Distribution(bounds, tuple(counts), total / scale)),)
            )

    def _workers(self, slots: int, now: float) -> Iterator[Family]:
        board = self._board
        labels = [((c.WORKER_LABEL, f"{self._pool}/{slot}"),) for slot in range(slots)]
        states = [state for both in self._of_rows("state", slots) for state in both]
        yield c.CHILD_RESTARTS.family(self._restarts(slots))
        yield c.THREADS.family((((self._pool,), states.count(_READY)),))
        yield c.WORKERS.family(
            ((name,), states.count(state)) for state, name in enumerate(WORKER_STATES) if state
        )
        lags = _by_slot(board.column("lag_us", slots))
        yield c.LAG.of_each(labels, (max(both) / _MICROSECONDS for both in lags))
        beats = _by_slot([_since(beat_at, now) for beat_at in board.column("beat_at", slots)])
        yield c.WORKER_SILENCE.of_each(labels, map(max, beats))
        begun = self._of_rows("since", slots)
        yield c.WORKER_AGE.of_each(labels, (max(_since(at, now) for at in both) for both in begun))
        for name, definition in c.OF_WORKER.items():
            yield definition.of_each(labels, map(sum, _by_slot(board.column(name, slots))))

    def _of_rows(self, name: str, slots: int) -> list[tuple[int, ...]]:
        """Return what the supervisor says of the workers in both rows of each slot."""
        columns = (self._board.slot_column(f"{name}_{row}", slots) for row in range(ROWS))
        return list(zip(*columns, strict=True))

    def _restarts(self, slots: int) -> Iterator[tuple[tuple[str], int]]:
        board = self._board
        yield ("template",), board.service("template_restarts")
        yield ("monitor",), max(0, board.service("monitor_restarts"))
        yield ("console",), board.service("console_restarts")
        yield ("broker",), board.broker("restarts")
        for slot, restarts in enumerate(board.slot_column("restarts", slots)):
            yield (f"{self._pool}/{slot}",), restarts

    def _logs(self, slots: int) -> Iterator[Family]:
        counts = {level: self._board.total(f"log_lines_{level}", slots) for level in COUNTED_LEVELS}
        yield c.LOG_TOTAL.single(sum(counts.values()))
        yield c.LOG_LEVELS.family(((level,), count) for level, count in counts.items())
        yield c.LOG_DROPPED.single(self._board.total("log_lines_dropped", slots))

    def _processes(self, slots: int) -> Iterator[tuple[str, int]]:
        """Return the name and pid of every process; of a slot there may be two."""
        board = self._board
        found = [
            ("supervisor", board.service("pid")),
            ("template", board.service("template_pid")),
            ("monitor", board.service("monitor_pid")),
            ("broker", board.broker("pid")),
            ("console", board.service("console_pid")),
        ]
        for slot, pids in enumerate(self._of_rows("pid", slots)):
            found += [(f"{self._pool}/{slot}", pid) for pid in pids]
        return ((name, pid) for name, pid in found if pid)

    def _broker(self, now: float) -> Iterator[Family]:
        """Return the metrics of rooms, none in a service without them."""
        read = self._board.broker
        state = BROKER_STATES[read("state")]
        if state == "none":
            return
        yield c.BROKER_UP.single(int(state == "ready"))
        yield c.BROKER_SILENCE.single(_since(read("beat_at"), now))
        yield c.STREAM_LOST.single(_since(read("stream_lost_at"), now))
        for metric in NUMBERS:
            value = read(metric.name)
            scaled = value / 1000 if metric.unit == c.MILLISECONDS else value
            yield c.OF_BROKER[metric.name].single(scaled)


def _expiries(certificates: Iterable[Mapping[str, Any]]) -> dict[tuple[str, ...], int]:
    """Return by listener and name when a certificate expires; of those with the same name, the first."""
    found: dict[tuple[str, ...], int] = {}
    for one in certificates:
        labels = one["listener"], (one["names"] or [one["subject"]])[0]
        found[labels] = min(one["not_after"], found.get(labels, one["not_after"]))
    return found


def _totals(found: list[_Handler], plain: list[_Handler]) -> Iterator[Family]:
    """Return userver's sums over handlers; ``found`` has the requests of nobody as well."""
    codes = [sum(counts) for counts in zip(*(one.codes for one in found), strict=True)]
    yield c.TOTAL_RPS.family((((_VERSION,), sum(codes)),))
    yield c.TOTAL_CODES.family(
        ((_VERSION, str(code)), count) for code, count in zip(CODES, codes, strict=False) if count
    )
    for definition, value in (
        (c.TOTAL_IN_FLIGHT, sum(one.current for one in plain)),
        (c.TOTAL_TOO_MANY, sum(one["too_many_in_flight"] for one in found)),
        (c.TOTAL_RATE_REACHED, sum(one["too_many_per_second"] for one in found)),
    ):
        yield definition.family((((_VERSION,), value),))


def _websockets(handlers: Iterable[_Handler]) -> Iterator[Family]:
    """Return the traffic of WebSocket handlers; the same component may have had several paths."""
    counts: dict[str, dict[Definition, int]] = {}
    for one in handlers:
        of_component = counts.setdefault(one.served.name, dict.fromkeys(_OF_WEBSOCKET, 0))
        for definition, name in _OF_WEBSOCKET.items():
            of_component[definition] += one[name] if name else one.current
    for definition in _OF_WEBSOCKET:
        yield definition.family(
            ((component,), found[definition]) for component, found in counts.items()
        )


_OF_WEBSOCKET = {
    c.SENT: "messages_sent",
    c.RECEIVED: "messages_received",
    c.BYTES_SENT: "bytes_sent",
    c.BYTES_RECEIVED: "bytes_received",
    c.WS_OPENED: "opened",
    c.WS_OPEN: "",
}
"""What each is counted as; "" is what is open"""


def _by_slot(values: list[T]) -> list[tuple[T, ...]]:
    """Return the values of both rows of each slot."""
    return list(zip(*(values[row::ROWS] for row in range(ROWS)), strict=True))


def _since(milliseconds: int, now: float) -> float:
    """Return the seconds since a time on the scoreboard, 0 if it has none."""
    return max(0.0, now - milliseconds / 1000) if milliseconds else 0.0
