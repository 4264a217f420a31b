"""Metrics as authors declare and use them."""

from __future__ import annotations

import array
import asyncio
from collections.abc import Callable
from enum import Enum
from typing import Any

import pytest

from mpchat import metrics
from mpchat.metrics.area import Area
from mpchat.metrics.declaring import bind_metrics, declarations_of
from mpchat.metrics.directory import entry_of
from mpchat.metrics.families import Distribution


class Shop:
    orders = metrics.counter(
        "orders", "Orders taken", labels={"kind": ("buy", "sell"), "by": ("hand", "rule")}
    )
    open = metrics.gauge("open", "Open orders")
    waited = metrics.histogram("wait.seconds", "Waited", bounds=(0.1, 1), unit="seconds")


def nobody(*_given: object) -> None:
    raise AssertionError("no other thread counts")


def area_of(cls: type, hand_over: Callable[..., object]) -> Area:
    entries = [entry_of(item.given) for item in declarations_of(cls).values()]
    values = array.array("d", bytes(8 * sum(entry.size for entry in entries)))
    return Area(entries, values, hand_over)


def shop(hand_over: Callable[..., object] = nobody) -> tuple[Shop, Area]:
    found, area = Shop(), area_of(Shop, hand_over)
    bind_metrics(found, area)
    return found, area


def test_what_is_counted_belongs_to_the_object() -> None:
    (one, its), (_other, others) = shop(), shop()
    one.orders.inc(kind="buy", by="hand")
    one.orders.inc(2.5, by="hand", kind="buy")
    one.open.set(5)
    one.open.inc()
    one.open.dec(2)
    for value in (0.1, 0.2, 1, 3):
        one.waited.observe(value)
    assert its.read("orders", {"kind": "buy", "by": "hand"}) == 3.5
    assert its.read("orders", {"by": "rule", "kind": "buy"}) == 0
    assert its.read("open", {}) == 4
    assert its.read("wait.seconds", {}) == Distribution((0.1, 1), (1, 2, 1), 4.3)
    assert others.read("open", {}) == 0
    assert Shop.open is vars(Shop)["open"]


def test_a_declaration_that_is_hidden_is_not_had() -> None:
    class Closed(Shop):
        open = None  # type: ignore[assignment]
        waited = metrics.histogram("wait.seconds", "Waited", bounds=(5,))

    class Again(Closed):
        shut = metrics.gauge("shut", "Shut")

    assert {*declarations_of(Again)} == {"orders", "waited", "shut"}
    assert declarations_of(Again)["waited"] is vars(Closed)["waited"]


def test_before_the_base_constructor_there_is_no_metric() -> None:
    with pytest.raises(AttributeError, match="Shop has no metrics: it is no component, or"):
        Shop().open.inc()


class Kind(str, Enum):  # noqa: UP042 - whose text is another
    BUY = "buy"


def test_a_member_of_an_enumeration_of_texts_is_a_value() -> None:
    one, area = shop()
    one.orders.inc(kind=Kind.BUY, by="hand")
    assert area.read("orders", {"kind": Kind.BUY, "by": "hand"}) == 1


@pytest.mark.parametrize(
    ("use", "text"),
    [
        (
            lambda it: it.orders.inc(kind="rent", by="hand"),
            "orders: kind is 'rent', expected one of buy, sell",
        ),
        (
            lambda it: it.orders.inc(kind=["buy"], by="hand"),
            "orders: kind is ['buy'], expected one of",
        ),
        (lambda it: it.orders.inc(), "orders: expected the labels kind, by, got none"),
        (lambda it: it.orders.inc(kind="buy"), "orders: expected the labels kind, by, got kind"),
        (lambda it: it.open.inc(kind="buy"), "open: expected the labels none, got kind"),
        (lambda it: it.orders.inc(-1, kind="buy", by="hand"), "orders: cannot count -1"),
        (lambda it: it.orders.inc(float("nan"), kind="buy", by="hand"), "orders: cannot count nan"),
        (lambda it: it.orders.inc(float("inf"), kind="buy", by="hand"), "orders: cannot count inf"),
        (lambda it: it.open.set(float("-inf")), "open: cannot count -inf"),
        (lambda it: it.open.dec(float("inf")), "open: cannot count -inf"),
        (lambda it: it.waited.observe(float("nan")), "wait.seconds: cannot count nan"),
    ],
)
def test_what_cannot_be_counted_is_an_error_and_changes_nothing(
    use: Callable[[Shop], None], text: str
) -> None:
    one, area = shop()
    with pytest.raises(ValueError, match=r"expected|cannot") as raised:
        use(one)
    assert str(raised.value).startswith(text)
    assert not any(
        area.read("orders", dict(labels)) for labels in area.find("orders")[0].combinations
    )
    assert area.read("open", {}) == 0
    assert area.read("wait.seconds", {}) == Distribution((0.1, 1), (0, 0, 0), 0)


async def test_every_thread_counts() -> None:
    one, area = shop(asyncio.get_running_loop().call_soon_threadsafe)

    def count() -> None:
        for _ in range(500):
            one.orders.inc(kind="buy", by="hand")
            one.waited.observe(1)
        one.open.set(7)

    threads = [asyncio.to_thread(count) for _ in range(4)]
    count()
    await asyncio.gather(*threads)
    assert area.read("orders", {"kind": "buy", "by": "hand"}) == 2500
    assert area.read("wait.seconds", {}) == Distribution((0.1, 1), (0, 2500, 0), 2500)
    assert area.read("open", {}) == 7


def test_what_is_not_declared_cannot_be_read() -> None:
    _one, area = shop()
    with pytest.raises(KeyError):
        area.read("nothing", {})
    with pytest.raises(ValueError, match="orders: expected the labels kind, by, got none"):
        area.read("orders", {})


def test_a_process_that_was_forked_from_the_worker_may_not_count() -> None:
    one, area = shop()
    area.leave()
    for use in (one.open.inc, lambda: one.open.set(1), lambda: one.waited.observe(1)):
        call: Any = use
        with pytest.raises(RuntimeError, match="forked from a worker has no metrics: count in the"):
            call()
