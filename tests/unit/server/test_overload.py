"""Overload control of a worker, by a clock and a loop of the test."""

from __future__ import annotations

import logging
import socket
from collections import Counter, deque
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from mpchat.components.handler_base import HandlerBase
from mpchat.dynamic_config.snapshot import Snapshot
from mpchat.dynamic_config.variables import BUILT_IN_KEYS
from mpchat.scoreboard.counters import Counters
from mpchat.scoreboard.scoreboard import Scoreboard
from mpchat.server.admission import Admission
from mpchat.server.board import ServiceBoard
from mpchat.server.options import ListenerOptions
from mpchat.server.overload import CongestionPlan, Overload
from tests.kit.host import under_construction

POLICY = {
    "min-limit": 10,
    "up-level": 2,
    "down-level": 1,
    "overload-off-seconds": 1,
    "no-limit-seconds": 3,
    "start-limit-factor": 0.5,
}
CUSTOM = {"initial-status-code": 503, "max-time-ms": 5000}
ON = {
    "USERVER_RPS_CCONTROL_ENABLED": True,
    "USERVER_RPS_CCONTROL": POLICY,
    "USERVER_RPS_CCONTROL_CUSTOM_STATUS": CUSTOM,
}


def made(name: str, **options: Any) -> HandlerBase:
    found = HandlerBase.Options.model_validate({"path": f"/{name}", **options})
    return HandlerBase(found, under_construction(name))


class Worker:
    """A worker whose loop is late as the test has it, and which is busy all the time."""

    def __init__(
        self,
        values: dict[str, Any] | None = None,
        handlers: list[HandlerBase] | None = None,
        *,
        fake_mode: bool = False,
        workers: int = 1,
    ) -> None:
        self.now = 1000.0
        self.values = ON if values is None else values
        self.handlers = handlers or [made("chat"), made("ping", throttling_enabled=False)]
        self.counters = Counters()
        self.limits: Counter[str] = Counter()
        self.pauses: list[float] = []
        self.open_line: deque[Any] = deque()
        self._call: Callable[[], None] | None = None
        self.scoreboard = Scoreboard.create()
        self.scoreboard.set_service("slots", workers)
        for slot in range(workers):
            self.scoreboard.row(slot, 0).set("accepting", 1)
        row = self.scoreboard.row(0, 0)
        board = ServiceBoard(
            self.scoreboard, row, self.scoreboard.addresses(0, 0), self.scoreboard.users(0, 0)
        )
        shared: Any = SimpleNamespace(
            loop=self,
            turn=self,
            clock=lambda: self.now,
            counters=self.counters,
            count_limit=lambda name: self.limits.update([name]),
        )
        self.overload = Overload(
            CongestionPlan("main", 429, fake_mode),
            self.handlers,
            shared,
            Admission(board, self.handlers, ListenerOptions(port=1), self._snapshot),
            board,
            self._snapshot,
            self.pauses.append,
            lambda: self.now,
        )

    def call_later(self, _seconds: float, call: Callable[[], None]) -> Any:
        """Be the loop."""
        self._call = call
        return SimpleNamespace(cancel=self._cancel)

    def line_up(self, line: deque[Any], member: Any) -> None:
        """Be the turn, whose lines are empty."""
        assert line is self.open_line
        member.serve()

    def seconds(self, count: int, load: int = 0, *, is_late: bool = False) -> None:
        """Let so many seconds pass, in each of which so many requests come, as far as they are taken.

        The loop is in time, or stands still for all of a second.
        """
        for _ in range(count):
            for _ in range(load):
                self.takes()
            for _ in range(1 if is_late else 100):
                self.now += 1 if is_late else 0.01
                if self._call is not None:
                    self._call()

    def storm(self, seconds: int = 2, load: int = 200) -> None:
        self.seconds(seconds, load, is_late=True)

    def takes(self, handler: int = 0) -> bool:
        return self.overload.takes(self.handlers[handler])

    def read(self, name: str) -> int:
        return self.scoreboard.read(0, 0, name)

    def _snapshot(self) -> Snapshot:
        return Snapshot(1, self.values, BUILT_IN_KEYS)

    def _cancel(self) -> None:
        self._call = None


def test_a_worker_without_overload_takes_everything() -> None:
    worker = Worker()
    worker.seconds(5, 100)
    assert all(worker.takes() for _ in range(1000))
    assert worker.counters.congestion_no_limit > 0
    assert worker.read("congestion_limit") == 0


def test_the_limit_is_a_part_of_what_it_took(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "mpchat.server")
    worker = Worker()
    worker.storm()
    limit = worker.read("congestion_limit")
    assert 10 < limit <= 100
    assert caplog.messages[0].startswith(f"overloaded: from now on at most {limit} new requests")
    assert worker.read("congestion_state") == 1 + 4
    assert worker.read("overloaded_at") > 0
    # The bucket is empty, and has half of it in half a second.
    assert not worker.takes()
    worker.now += 0.5
    assert limit // 2 - 1 <= sum(worker.takes() for _ in range(1000)) <= limit // 2 + 1


def test_the_limit_is_dropped_after_a_calm(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "mpchat.server")
    worker = Worker()
    worker.storm()
    worker.seconds(8)
    assert worker.read("congestion_limit") == 0
    assert caplog.messages[1:] == ["no longer overloaded: new requests are taken as they come"]
    assert all(worker.takes() for _ in range(1000))


@pytest.mark.covers("RpsCongestionControl.min-limit")
@pytest.mark.parametrize(("workers", "limit"), [(1, 10), (3, 4), (20, 1)])
def test_the_smallest_limit_is_that_of_all_workers_together(workers: int, limit: int) -> None:
    smallest = dict(min_limit=10)
    policy = {**POLICY, "min-limit": smallest["min_limit"]}
    worker = Worker({**ON, "USERVER_RPS_CCONTROL": policy}, workers=workers)
    worker.storm(load=1)
    assert worker.read("congestion_limit") == limit


def test_who_is_exempt_is_always_taken_and_no_load() -> None:
    worker = Worker()
    worker.storm()
    assert not worker.takes()
    assert all(worker.takes(1) for _ in range(1000))


def test_a_service_whose_handlers_are_all_exempt_has_no_limit() -> None:
    worker = Worker(handlers=[made("ping", throttling_enabled=False)])
    worker.storm()
    assert worker.read("congestion_state") == 1 + 4
    assert worker.read("congestion_enforced") == 0
    assert worker.takes()


def test_fake_mode_counts_and_refuses_nobody(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "mpchat.server")
    worker = Worker({**ON, "USERVER_RPS_CCONTROL_ENABLED": False}, fake_mode=True)
    worker.storm()
    assert worker.takes()
    assert worker.read("congestion_enforced") == worker.read("congestion_limit") == 0
    assert worker.counters.congestion_overloaded_under_pressure > 0
    assert caplog.messages[0].endswith(", in fake-mode")


def test_it_runs_only_while_it_is_enabled() -> None:
    worker = Worker({})
    worker.storm()
    assert worker.read("congestion_state") == 1
    worker.values = ON
    worker.overload.config_changed()
    assert worker.read("congestion_enforced") == 1
    worker.storm()
    assert not worker.takes()
    worker.values = {**ON, "USERVER_RPS_CCONTROL_ENABLED": False}
    worker.overload.config_changed()
    assert worker.takes()
    assert worker.read("congestion_limit") == worker.read("congestion_enforced") == 0


def test_who_is_stopped_in_line_does_not_look() -> None:
    worker = Worker()
    worker.overload.stop()
    worker.now += 10
    worker.overload.serve()
    assert worker.read("congestion_state") == 1
    assert worker.counters.congestion_no_limit == 0


def test_a_refusal_says_who_refuses_and_when_to_come_again() -> None:
    worker = Worker()
    worker.storm()
    refusals = [worker.overload.refusal(worker.handlers[0]) for _ in range(6)]
    headers = dict(refusals[0].headers)
    assert headers == {
        "Retry-After": "1",
        "X-YaTaxi-Ratelimited-By": socket.gethostname(),
        "X-YaTaxi-Ratelimit-Reason": "congestion-control",
        "Connection": "close",
    }
    # Not all at the same time.
    assert [found.headers["Retry-After"] for found in refusals] == ["1", "2", "3", "4", "5", "1"]
    assert worker.scoreboard.total("congestion-control", 1) == 6


@pytest.mark.covers("CustomStatus.initial-status-code", "CustomStatus.max-time-ms")
def test_the_first_refusals_have_a_status_of_their_own() -> None:
    custom = dict(initial_status_code=503, max_time_ms=5000)
    custom = {name.replace("_", "-"): value for name, value in custom.items()}
    worker = Worker({**ON, "USERVER_RPS_CCONTROL_CUSTOM_STATUS": custom})
    worker.storm()
    (handler, _exempt) = worker.handlers
    assert worker.overload.refusal(handler).status == 503
    assert worker.read("congestion_custom_status") == 1
    worker.storm(5)
    assert worker.overload.refusal(handler).status == 429
    assert worker.read("congestion_custom_status") == 0


@pytest.mark.covers("USERVER_RPS_CCONTROL_ACTIVATED_FACTOR_METRIC")
def test_a_limit_far_above_the_load_is_not_activated() -> None:
    activated = "USERVER_RPS_CCONTROL_ACTIVATED_FACTOR_METRIC"
    values = dict(ON, USERVER_RPS_CCONTROL_ACTIVATED_FACTOR_METRIC=2)
    assert values[activated] == 2
    worker = Worker(values)
    worker.storm()
    assert worker.read("congestion_activated") == 1
    worker.seconds(1, 10)
    assert worker.read("congestion_limit") > 20
    assert worker.read("congestion_activated") == 0


@pytest.mark.covers(
    "WaitQueueOverload.sensor_time_limit_us",
    "TaskProcessorLimits.wait_queue_overload",
    "TaskProcessorQos.default-service",
)
def test_what_is_late_is_said_for_a_pool() -> None:
    def qos(limit: int) -> dict[str, Any]:
        limits = dict(time_limit_us=0, length_limit=0, action="ignore", sensor_time_limit_us=limit)
        return dict(wait_queue_overload=limits)

    def is_limited(default: int, **pools: int) -> bool:
        found = {name: qos(limit) for name, limit in pools.items()}
        value = dict(default_service={**found, "default-task-processor": qos(default)})
        value = {name.replace("_", "-"): pools for name, pools in value.items()}
        worker = Worker({**ON, "USERVER_TASK_PROCESSOR_QOS": value})
        worker.storm()
        return bool(worker.read("congestion_limit"))

    assert is_limited(3000)
    # 0 is no limit, and a second's lag is one that no storm here has.
    assert not is_limited(0)
    assert not is_limited(2_000_000)
    assert is_limited(0, main=3000)
    assert not is_limited(3000, main=0)
    assert is_limited(3000, other=0)


def test_a_limited_worker_accepts_what_it_may_take_and_refuse() -> None:
    worker = Worker()
    for _ in range(1000):
        worker.overload.accepted()
    assert worker.pauses == []
    worker.storm()
    rate = worker.read("congestion_limit") + 300
    begun, accepted = worker.now, 0
    while worker.now < begun + 2:
        worker.overload.accepted()
        accepted += 1
        worker.now += worker.pauses.pop() if worker.pauses else 0.0
    assert 2 * rate - 2 <= accepted <= 2 * rate + 10
    assert worker.limits["congestion-control.pauses"] > 100


def test_refusals_to_those_who_are_accepted_long_since_stop_accepting_too() -> None:
    worker = Worker()
    worker.storm()
    for _ in range(30):
        worker.overload.refusal(worker.handlers[0])
    assert worker.pauses == []
    for _ in range(30):
        worker.overload.refusal(worker.handlers[0])
    assert worker.pauses[-1] == pytest.approx(0.1)
