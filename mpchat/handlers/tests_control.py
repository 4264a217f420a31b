"""tests-control: what userver's testsuite asks of a service under test (userver's TestsControl).

Rules. There only where the config has its section: it is not for the outside. An answer comes when every
worker has done what was asked. What has no counterpart here is refused by name rather than ignored.
"""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import Field
from websockets.http11 import Request, Response

from mpchat.components.handler_base import HandlerBase, response
from mpchat.components.running import Components
from mpchat.ipc.control import ControlError
from mpchat.websocket.context import Context

_ACTIONS = "control, get_dynamic_config_defaults"


class TestsControl(HandlerBase):
    """``POST /tests/{action}`` with a JSON object."""

    name = "tests-control"
    section_optional = True

    class Options(HandlerBase.Options):
        """As every handler's; the path has to have ``{action}``."""

        method: Annotated[str, Field(description="Allowed methods, comma separated")] = "POST"

    def __init__(self, options: Any, components: Components) -> None:
        super().__init__(options, components)
        self.components = components

    async def handle_non_websocket_request(self, request: Request, context: Context) -> Response:
        """Carry out an action."""
        action = context.path_params.get("action")
        try:
            body = json.loads(context.body or b"{}")
        except ValueError as error:
            return response(400, f"the body is not JSON: {error}\n")
        if not isinstance(body, dict):
            return response(400, "the body is not a JSON object\n")
        if action == "control":
            return await self._control(body)
        if action == "get_dynamic_config_defaults":
            return _json(context.config.as_json())
        return response(404, f"unknown action {action}; known are {_ACTIONS}\n")

    async def _control(self, body: dict[str, Any]) -> Response:
        if body.get("mock_now") is not None:
            return response(400, "mock_now: a service here has no clock of the testsuite's\n")
        if body.get("testpoints"):
            return response(400, "testpoints: there are none in a service here\n")
        if body.get("invalidate_caches"):
            # The dynamic config is the one thing that every worker keeps a copy of.
            try:
                await self.components.reload_dynamic_config()
            except ControlError as error:
                return response(500, f"{error}\n")
        return _json({})


def _json(value: Any) -> Response:
    return response(200, json.dumps(value), content_type="application/json")
