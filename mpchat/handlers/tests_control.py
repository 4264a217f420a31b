"""tests-control: requests of userver's testsuite to a service under test (userver's TestsControl).

Rules. The component exists only if the config has its section; it is not for outsiders. An answer comes
when every worker has carried out the request. Features without a counterpart here are refused by name,
not ignored, except ``mock_now``: userver's plugin always sends it with its first request.
"""

from __future__ import annotations

import datetime
import json
from typing import Annotated, Any

from pydantic import Field
from websockets.http11 import Request, Response

from mpchat.components.component import Components
from mpchat.components.context import Context
from mpchat.components.handler_base import HandlerBase
from mpchat.http.responses import response
from mpchat.ipc.control import ControlError

_ACTIONS = "control, get_dynamic_config_defaults"
_TIME = "2026-06-30T12:00:00.000000+0000"


class TestsControl(HandlerBase):
    """``POST /tests/{action}`` with a JSON object; the default action is control."""

    name = "tests-control"
    section_optional = True

    class Options(HandlerBase.Options):
        """Options of every handler; the path usually has ``{action}``."""

        method: Annotated[str, Field(description="Allowed methods, comma separated")] = "POST"

    def __init__(self, options: Any, components: Components) -> None:
        super().__init__(options, components)
        self.components = components
        self._has_warned = False

    async def handle_non_websocket_request(self, request: Request, context: Context) -> Response:
        """Carry out an action."""
        action = context.path_params.get("action", "control")
        try:
            body = json.loads(context.body or b"{}")
        except ValueError as error:
            return response(400, f"the body is not JSON: {error}\n")
        if not isinstance(body, dict):
            return response(400, "the body is not a JSON object\n")
        if action == "control":
            # Older clients name the action in the body, as in userver's TestsControl.
            action = body.get("action", action)
        if action == "control":
            return await self._control(body)
        if action == "get_dynamic_config_defaults":
            return _json(context.config.as_json())
        return response(404, f"unknown action {action}; known are {_ACTIONS}\n")

    async def _control(self, body: dict[str, Any]) -> Response:
        if (now := body.get("mock_now")) is not None:
            if not _is_time(now):
                return response(400, f"mock_now: expected a time such as {_TIME}\n")
            self._warn_of_time(now)
        if body.get("testpoints"):
            return response(400, "testpoints: mpchat has none\n")
        if body.get("invalidate_caches"):
            # The dynamic config is the only cache of a worker.
            try:
                await self.components.reload_dynamic_config()
            except ControlError as error:
                return response(500, f"{error}\n")
        return _json({})

    def _warn_of_time(self, now: str) -> None:
        """Warn, once in each worker, that the service ignores the testsuite's time."""
        if not self._has_warned:
            self._has_warned = True
            self.logger.warning("mock_now: %s has no effect: mpchat uses the system's clock", now)


def _is_time(value: Any) -> bool:
    try:
        datetime.datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return False
    return True


def _json(value: Any) -> Response:
    return response(200, json.dumps(value), content_type="application/json")
