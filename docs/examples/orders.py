"""Metrics of your own: a counter with a label, a gauge and a histogram, of all workers together."""

from __future__ import annotations

import asyncio
import time
from typing import Literal

from pydantic import BaseModel

from mpchat import (
    Context,
    HttpHandlerJsonBase,
    HttpRequest,
    daemon_main,
    metrics,
    minimal_server_component_list,
)


class Order(BaseModel):
    """What a client sends."""

    kind: Literal["buy", "sell"]
    seconds: float = 0.0


class Orders(HttpHandlerJsonBase):
    """Carries out orders, which takes as long as they say."""

    name = "handler-orders"
    body_type = Order

    taken = metrics.counter("orders", "Orders taken", labels={"kind": ("buy", "sell")})
    open = metrics.gauge("orders.open", "Orders that are being carried out")
    took = metrics.histogram(
        "orders.duration.seconds",
        "Time from an order to its end",
        unit="seconds",
        bounds=(0.01, 0.1, 1, 10),
    )

    async def handle_request_json(
        self, request: HttpRequest, body: Order, context: Context
    ) -> dict[str, str]:
        begun = time.monotonic()
        self.taken.inc(kind=body.kind)
        self.open.inc()
        try:
            await asyncio.sleep(body.seconds)
        finally:
            self.open.dec()
        self.took.observe(time.monotonic() - begun)
        return {"done": body.kind}


if __name__ == "__main__":
    daemon_main(minimal_server_component_list().append(Orders))
