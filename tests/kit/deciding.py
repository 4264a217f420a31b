"""What the server decides about a request, without a service: the pure functions, one after another."""

from __future__ import annotations

from mpchat.components.handler_base import HandlerBase
from mpchat.components.http_handler import HttpHandlerBase
from mpchat.http.body import too_large
from mpchat.http.errors import HttpError
from mpchat.http.head import Head, HeadLimits
from mpchat.http.upgrade import check_handshake
from mpchat.server.intake import Intake
from mpchat.server.routes import Routes
from mpchat.websocket.handler import WebsocketHandlerBase
from mpchat.websocket.negotiation import agree, make_negotiator
from mpchat.websocket.origins import check_origin
from tests.kit.host import under_construction
from tests.kit.requests import MAX_HEADERS_SIZE, MAX_URL_SIZE

LIMITS = HeadLimits(target=MAX_URL_SIZE, head=MAX_HEADERS_SIZE)
MAX_BODY = 1024 * 1024


def _routes() -> Routes:
    found: list[HandlerBase] = []
    served = {
        "/chat": WebsocketHandlerBase,
        "/rooms/{room}": WebsocketHandlerBase,
        "/ping": HttpHandlerBase,
    }
    for path, cls in served.items():
        components = under_construction(path)
        found.append(cls(cls.Options.model_validate({"path": path}), components))
    return Routes(found)


ROUTES = _routes()


def admit(head: Head) -> int:
    """Decide about a request that has a body."""
    ROUTES.find(head.method, head.target)
    if head.body_length is not None and head.body_length > MAX_BODY:
        raise too_large()
    return MAX_BODY


def first_of(data: bytes) -> Head | None:
    """Return the head of the first request; None if more is to come.

    Raises:
        HttpError: The request is refused.
    """
    intake = Intake(LIMITS)
    intake.feed(data)
    found = intake.next(admit)
    while found is None and intake.is_behind:
        found = intake.next(admit)
    return None if found is None else found[0]


def status_of(data: bytes) -> int | None:
    """Return the status, None if more is to come.

    Raises:
        HttpError: The request is refused.
    """
    head = first_of(data)
    return None if head is None else status_of_head(head)


def status_of_head(head: Head) -> int:
    """Return the status of a whole request.

    Raises:
        HttpError: The request is refused.
    """
    route = ROUTES.find(head.method, head.target)
    if route.handler is None:
        return 204
    if not isinstance(route.handler, WebsocketHandlerBase):
        return 200
    if not head.upgrade:
        # What a handler answers to plain requests by default.
        return 426
    check_handshake(head.method, head.fields)
    check_origin(head.fields, route.authority or head.fields["host"][0], None)
    agree(make_negotiator((), None), head.fields)
    return 101


def decided(data: bytes) -> int | None:
    """Return the status, that of a refusal as well; None if more is to come."""
    try:
        return status_of(data)
    except HttpError as error:
        return error.status
