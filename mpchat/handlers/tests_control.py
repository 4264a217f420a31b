"""tests-control: requests of userver's testsuite to a service under test (userver's TestsControl).

Rules. The component exists only if the config has its section; it is not for outsiders. An answer comes
when every worker has carried out the request. Features without a counterpart here are refused by name,
not ignored, except ``mock_now``: userver's plugin always sends it with its first request.
"""

from __future__ import annotations

import datetime
from typing import Any, ClassVar

from mpchat.components.component import Components
from mpchat.components.context import Context
from mpchat.components.json_handler import HttpHandlerJsonBase
from mpchat.http.errors import HttpError
from mpchat.http.request import HttpRequest
from mpchat.ipc.control import ControlError

_ACTIONS = "control, get_dynamic_config_defaults"
_TIME = "2026-06-30T12:00:00.000000+0000"


class TestsControl(HttpHandlerJsonBase):
    """``POST /tests/{action}`` with a JSON object or no body; the default action is control."""

    name = "tests-control"
    section_optional = True
    body_type: ClassVar[Any] = dict[str, Any] | None

    def __init__(self, options: Any, components: Components) -> None:
        super().__init__(options, components)
        self.components = components
        self._has_warned = False

    async def handle_request_json(self, request: HttpRequest, body: Any, context: Context) -> Any:
        """Carry out an action."""
        action = context.path_params.get("action", "control")
        body = body or {}
        if action == "control":
            # Older clients name the action in the body, as in userver's TestsControl.
            action = body.get("action", action)
        if action == "control":
            return await self._control(body)
        if action == "get_dynamic_config_defaults":
            return context.config.as_json()
        raise HttpError(404, f"unknown action {action}; known are {_ACTIONS}")

    async def _control(self, body: dict[str, Any]) -> dict[str, Any]:
        if (now := body.get("mock_now")) is not None:
            if not _is_time(now):
                raise HttpError(400, f"mock_now: expected a time such as {_TIME}")
            self._warn_of_time(now)
        if body.get("testpoints"):
            raise HttpError(400, "testpoints: mpchat has none")
        if body.get("invalidate_caches"):
            # The dynamic config is the only cache of a worker.
            try:
                await self.components.reload_dynamic_config()
            except ControlError as error:
                raise HttpError(500, str(error)) from error
        return {}

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
