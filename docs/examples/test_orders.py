"""An author's test of metrics, without a port: what a request has counted."""

from __future__ import annotations

from orders import Orders

from mpchat import metrics, testing


async def test_orders_are_counted() -> None:
    async with testing.serve({Orders: {"path": "/orders", "method": "POST"}}) as worker:
        for kind in ("buy", "sell", "buy"):
            answer = await worker.service_client.post("/orders", json={"kind": kind})
            assert answer.json() == {"done": kind}
        assert worker.metric("orders", kind="buy") == 2
        assert worker.metric("orders", kind="sell") == 1
        assert worker.metric("orders.open") == 0
        took = worker.metric("orders.duration.seconds")
    assert isinstance(took, metrics.Distribution)
    assert sum(took.counts) == 3
