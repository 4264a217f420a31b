"""The collector: every number of the scoreboard is a metric, and no counter falls."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpchat.console.catalogue import CATALOGUE, CC_STATES, OF_BROKER, OF_WORKER
from mpchat.console.collector import Collector
from mpchat.console.processes import memory_families
from mpchat.scoreboard import broker, service
from mpchat.scoreboard.counters import COUNTED, GAUGES, LIMITS, TOTALS, TRAFFIC
from mpchat.scoreboard.handlers import COUNTED as OF_HANDLERS
from mpchat.scoreboard.handlers import PLACES, Served
from tests.unit.console.rig import CHAT, PING, POOL, filled, values_of


def test_every_metric_is_in_the_catalogue_and_the_other_way_round() -> None:
    with filled(1) as slots:
        slots.workers[0].row.set("congestion_state", 1)
        slots.workers[0].row.set("congestion_limit", 10)
        found = [(f.name, f.kind, f.unit, f.help) for f in slots.collector.collect()]
    assert sorted(found) == sorted((d.name, d.kind, d.unit, d.help) for d in CATALOGUE)
    assert len({name for name, *_rest in found}) == len(found)


@pytest.mark.parametrize("definition", CATALOGUE, ids=lambda one: one.name)
def test_each_says_what_it_is(definition: object) -> None:
    name, unit, text = (getattr(definition, key) for key in ("name", "unit", "help"))
    assert len(text.split()) >= 3
    assert text[0].isupper()
    assert not text.endswith(".")
    assert unit
    assert name == name.lower()


def test_every_number_of_a_row_is_a_metric_of_its_worker() -> None:
    with filled(2) as slots:
        expected = {}
        for number, name in enumerate(OF_WORKER, start=1):
            worker = slots.workers[1]
            place = worker.counters.traffic_of("chat") if name in TRAFFIC else worker.counters
            setattr(place, name, number)
            expected[OF_WORKER[name].name] = number
        slots.workers[1].publish()
        found = slots.values()
        assert {name: found[name][f"{POOL}/1",] for name in expected} == expected
        assert all(found[name][f"{POOL}/0",] == 0 for name in expected)


def test_every_other_number_of_a_row_is_in_a_metric_of_all_workers() -> None:
    where: dict[str, tuple[str, tuple[str, ...]]] = {
        "left": ("server.connections.closed", ()),
        "proxied": ("mpchat.proxy-headers", ("taken",)),
        "parsing": ("server.requests.parsing", ()),
        "answering": ("server.requests.active", ()),
    }
    for level in ("trace", "debug", "info", "warning", "error", "critical"):
        where[f"log_lines_{level}"] = "logger.by_level", (level,)
    for name, definition in CC_STATES.items():
        where[name] = definition.name, ()
    assert {*where, *OF_WORKER} == {metric.name for metric in COUNTED}
    with filled(2) as slots:
        slots.workers[0].row.set("congestion_state", 1)
        for worker in slots.workers:
            for number, name in enumerate(where, start=1):
                setattr(worker.counters, name, number)
            worker.publish()
        found = slots.values()
        for number, (name, labels) in enumerate(where.values(), start=1):
            assert found[name][labels] == 2 * number


def test_a_certificate_is_called_by_its_first_name_and_the_first_end_counts() -> None:
    names: tuple[list[str], ...] = (["a.test", "b.test"], ["a.test"], ["b.test"], [])
    with filled(1) as slots:
        slots.certificates = [
            {"listener": "listener", "subject": "nobody", "names": some, "not_after": 2000 - number}
            for number, some in enumerate(names)
        ]
        slots.certificates.append({**slots.certificates[0], "listener": "listener-monitor"})
        found = slots.values()["mpchat.certificate.expiry-timestamp-seconds"]
    assert found == {
        ("listener", "a.test"): 1999,
        ("listener", "b.test"): 1998,
        ("listener", "nobody"): 1997,
        ("listener-monitor", "a.test"): 2000,
    }


def test_every_limit_is_one_under_the_name_of_its_option() -> None:
    with filled(2) as slots:
        for number, name in enumerate(LIMITS, start=1):
            for worker in slots.workers:
                for _ in range(number):
                    worker.row.count_limit(name)
        found = slots.values()["mpchat.limits"]
        assert found == {(name,): 2 * number for number, name in enumerate(LIMITS, start=1)}


def test_every_number_of_the_broker_is_a_metric() -> None:
    with filled(1) as slots:
        for number, metric in enumerate(broker.NUMBERS, start=1):
            slots.board.set_broker(metric.name, 1000 * number)
        found = slots.values()
        for number, metric in enumerate(broker.NUMBERS, start=1):
            scale = 1 if metric.unit == "milliseconds" else 1000
            assert found[OF_BROKER[metric.name].name][()] == scale * number
        slots.board.set_broker("state", broker.BROKER_STATES.index("none"))
        assert not [name for name in slots.values() if name.startswith("mpchat.broker.")]


def test_every_counter_of_the_supervisor_is_a_metric() -> None:
    with filled(1) as slots:
        before = slots.values()
        counters = service.NAMES[service.NAMES.index("faults") :]
        for name in counters:
            slots.board.set_service(name, 41)
        after = slots.values()
    changed = [
        (name, labels) for name in after for labels in after[name] if after[name][labels] == 41
    ]
    assert not [1 for name, labels in changed if before[name][labels] == 41]
    assert len(changed) == len(counters)


def test_every_count_of_a_handler_is_a_metric() -> None:
    with filled(2) as slots:
        for worker in slots.workers:
            number = worker.numbers[CHAT]
            traffic = worker.counters.traffic_of("chat")
            for value, metric in enumerate(OF_HANDLERS, start=1):
                if metric.name in TRAFFIC:
                    setattr(traffic, metric.name, value)
                else:
                    for _ in range(value):
                        worker.row.count_of_handler(number, metric.name)
            worker.publish()
        found = slots.values()
        http = ("chat", "/chat/_room_", "2")
        assert [
            found["ws.msg.recv"]["chat",],
            found["ws.msg.sent"]["chat",],
            found["ws.bytes.recv"]["chat",],
            found["ws.bytes.sent"]["chat",],
            found["ws.connections.opened"]["chat",],
            found["http.handler.too-many-requests-in-flight"][http],
            found["http.handler.rate-limit-reached"][http],
        ] == [2 * value for value in range(1, len(OF_HANDLERS) + 1)]


def test_answers_are_counted_by_handler_and_code_and_in_all() -> None:
    with filled(2) as slots:
        for worker in slots.workers:
            for handler, status in ((CHAT, 101), (CHAT, 503), (PING, 200), (PING, 299)):
                worker.row.count_answer(worker.numbers[handler], status)
            worker.row.count_answer(0, 404)
        found = slots.values()
        codes = found["http.handler.reply-codes"]
        assert codes == {
            ("chat", "/chat/_room_", "2", "101"): 2,
            ("chat", "/chat/_room_", "2", "503"): 2,
            ("handler-ping", "/ping", "2", "200"): 2,
            ("handler-ping", "/ping", "2", "0"): 2,
        }
        assert found["http.handler.rps"] == {
            ("chat", "/chat/_room_", "2"): 4,
            ("handler-ping", "/ping", "2"): 4,
        }
        assert found["http.handler.total.rps"] == {("2",): 10}
        assert found["http.handler.total.reply-codes"]["2", "404"] == 2


def test_in_flight_is_of_http_handlers_and_open_connections_of_websockets() -> None:
    with filled(1) as slots:
        (worker,) = slots.workers
        worker.row.count_connection(worker.numbers[CHAT], 1)
        worker.row.count_request(worker.numbers[PING], 1)
        found = slots.values()
        assert found["http.handler.in-flight"] == {("handler-ping", "/ping", "2"): 1}
        assert found["http.handler.total.in-flight"] == {("2",): 1}
        assert found["ws.connections.active"] == {("chat",): 1}


def test_a_handler_keeps_its_number_and_its_counts_over_editions() -> None:
    with filled(1) as slots:
        (first,) = slots.workers
        first.counters.traffic_of("chat").messages_received = 5
        first.publish()
        other = Served("other", "/other", True)
        second = slots.start(0, 1, (other, CHAT))
        assert second.numbers[CHAT] == first.numbers[CHAT]
        second.counters.traffic_of("chat").messages_received = 2
        second.counters.traffic_of("other").messages_received = 3
        second.publish()
        assert slots.values()["ws.msg.recv"] == {("chat",): 7, ("other",): 3}


def test_a_service_that_has_had_too_many_handlers_says_so() -> None:
    with filled(1) as slots:
        many = tuple(Served(f"handler-{number}", "/", False) for number in range(PLACES))
        with pytest.raises(RuntimeError, match="stop it and start it again"):
            slots.start(0, 1, many)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["count", "die", "handover"]), st.integers(0, 1), st.integers(1, 1000)
    ),
    max_size=12,
)


@given(STEPS)
@settings(max_examples=20, deadline=None)
def test_no_counter_falls_over_deaths_restarts_and_scaling(
    steps: list[tuple[str, int, int]],
) -> None:
    with filled(2) as slots:
        workers = {slot: (0, slots.workers[slot]) for slot in range(2)}
        counted = 0
        before = slots.values()
        counters = {d.name for d in CATALOGUE if d.kind == "counter"}
        for step, slot, number in steps:
            row, worker = workers[slot]
            if step == "count":
                counted += number
                for name in TOTALS:
                    if name not in TRAFFIC:
                        setattr(worker.counters, name, getattr(worker.counters, name) + number)
                worker.counters.traffic_of("chat").messages_received += number
                worker.counters.connections = worker.counters.sockets = number
                worker.publish()
            else:
                if step == "handover":
                    workers[slot] = (1 - row, slots.start(slot, 1 - row))
                slots.board.zero_gauges(slot, row)
                if step == "die":
                    workers[slot] = (row, slots.start(slot, row))
            now = slots.values()
            for name in counters:
                for labels, value in before.get(name, {}).items():
                    later = now[name][labels]
                    assert later >= value, (name, labels)  # type: ignore[operator]
            before = now
        assert before["ws.msg.recv"]["chat",] == counted
        assert sum(before["mpchat.worker.accepted"].values()) == counted  # type: ignore[arg-type]


def test_the_gauges_of_a_dead_worker_end_and_what_it_had_open_is_closed() -> None:
    with filled(1) as slots:
        (worker,) = slots.workers
        counters = worker.counters
        for name in GAUGES:
            setattr(counters, name, 7)
        counters.accepted = counters.handshakes = 9
        counters.left = counters.closed = 2
        worker.publish()
        slots.board.zero_gauges(0, 0)
        found = slots.values()
        gauges = [name for name in GAUGES if name in OF_WORKER]
        assert all(found[OF_WORKER[name].name][f"{POOL}/0",] == 0 for name in gauges)
        assert found["server.requests.active"][()] == found["server.requests.parsing"][()] == 0
        assert found["server.connections.opened"][()] == found["server.connections.closed"][()] == 9
        assert found["mpchat.worker.closed"][f"{POOL}/0",] == 9


def test_of_two_workers_of_a_slot_the_longer_times_count_and_gauges_add_up() -> None:
    with filled(2) as slots:
        board = slots.board
        second = slots.start(1, 1)
        for row, worker, number in ((0, slots.workers[1], 1), (1, second, 2)):
            worker.row.set("lag_us", number * 1_000)
            worker.row.set("beat_at", 100_000 - number * 10)
            board.set_slot(1, f"since_{row}", 100_000 - number * 1_000)
            worker.counters.connections = number
            worker.publish()
        board.set_slot(1, "restarts", 5)
        found = values_of(Collector(board, POOL, list, lambda: 100.0).collect())
        first, other = (f"{POOL}/0",), (f"{POOL}/1",)
        for name, value in (
            ("mpchat.worker.loop-lag-seconds", 0.002),
            ("mpchat.worker.silent-seconds", 0.02),
            ("mpchat.worker.age-seconds", 2),
            ("mpchat.worker.connections", 3),
            ("mpchat.process-restarts", 5),
        ):
            assert found[name][first] == 0
            assert found[name][other] == pytest.approx(value)
        assert found["mpchat.workers"]["ready",] == 3


def test_processes_have_their_usage_under_their_names() -> None:
    with filled(1) as slots:
        found = slots.values()
        for name in ("cpu_time_sec", "rss_kb", "open_files"):
            assert set(found[name]) == {("supervisor",), (f"{POOL}/0",)}
            assert found[name]["supervisor",] > 0  # type: ignore[operator]


def test_what_is_not_known_of_memory_is_left_out(tmp_path: Path) -> None:
    assert [*memory_families(f"{tmp_path}/")] == []
    folder = tmp_path / "proc"
    folder.mkdir()
    (folder / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable:       7 kB\n")
    (family,) = memory_families(f"{tmp_path}/")
    assert [sample.value for sample in family.samples] == [7 * 1024]


def test_congestion_control_has_userver_s_metrics() -> None:
    with filled(3) as slots:
        assert not [name for name in slots.values() if "congestion" in name]
        for worker, state in zip(slots.workers, (1, 5, 2), strict=True):
            worker.row.set("congestion_state", state)
        found = slots.values()
        assert "congestion-control.rps.limit" not in found
        assert "mpchat.worker.congestion-limit" not in found
        for worker, limit in zip(slots.workers, (0, 30, 12), strict=True):
            worker.row.set("congestion_limit", limit)
        slots.workers[1].row.set("congestion_enforced", 1)
        slots.workers[1].row.set("overloaded_at", int((time.monotonic() - 100) * 1000))
        assert slots.value("congestion-control.rps.limit") == 42
        assert slots.values()["mpchat.worker.congestion-limit"] == {
            (f"{POOL}/1",): 30,
            (f"{POOL}/2",): 12,
        }
        assert slots.value("congestion-control.rps.current-state") == 4
        assert slots.value("congestion-control.rps.is-enabled") == 1
        assert slots.value("congestion-control.rps.is-activated") == 0
        seconds = "congestion-control.rps.time-from-last-overloaded-under-pressure-secs"
        assert 100 <= slots.value(seconds) < 200
        # What a worker leaves behind is no limit.
        slots.board.zero_gauges(1, 0)
        assert slots.value("congestion-control.rps.limit") == 12
