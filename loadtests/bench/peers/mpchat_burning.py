"""A handler that takes 20 ms of its worker's CPU for each request, beside the echo."""

from __future__ import annotations

import time

from mpchat import Context, HttpHandlerBase, HttpRequest, Response, default_component_list, response

SECONDS = 0.02


class Burning(HttpHandlerBase):
    name = "handler-burning"

    async def handle_request(self, request: HttpRequest, context: Context) -> Response:
        end = time.thread_time() + SECONDS
        while time.thread_time() < end:
            pass
        return response(200, b"burnt")


components = default_component_list().append(Burning)
