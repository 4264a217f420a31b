"""Tickets: a page that has logged in gets one by a request, and opens one WebSocket with it.

Rules. A ticket is signed by a key of the service, belongs to a user, is over after seconds, and is
accepted once: the first worker of the host that sees it notes that for all (see scoreboard/tickets).
Times are those of the host's monotonic clock: to set the system's clock makes no ticket valid again.
"""

from __future__ import annotations

import asyncio
import secrets
from http import HTTPStatus
from typing import Annotated, Any

from pydantic import Field
from websockets.http11 import Request, Response

from mpchat.auth.claims import from_payload, to_payload
from mpchat.auth.signing import sign, verify
from mpchat.components.auth import AuthCheckerBase, Unauthorized
from mpchat.components.component import Component, Components
from mpchat.components.context import Context
from mpchat.components.handler_base import AuthOptions, Method
from mpchat.components.http_handler import HttpHandlerBase
from mpchat.components.identity import Identity
from mpchat.config.types import Duration
from mpchat.http.errors import HttpError
from mpchat.http.request import HttpRequest
from mpchat.http.responses import response
from mpchat.scoreboard.tickets import Claim

MAX_LIFETIME = 30.0
"""Seconds for which a ticket may be valid: for so long the used ones are remembered."""
_PURPOSE = "ticket"
_PARAMETER = "ticket"
_TRIES, _PAUSE = 1000, 0.001
"""How often, and every how many seconds, a table is tried that another worker keeps locked."""
_REFUSALS = {
    Claim.FULL: "too many tickets were used within seconds",
    Claim.BUSY: "tickets cannot be checked: a worker that stands still keeps their table locked",
}


class TicketAuth(AuthCheckerBase):
    """One-time tickets in the query of a handshake: ``wss://example.com/chat?ticket=…``.

    Its section is ``ticket``. ``TicketHandler`` gives tickets to those who are logged in.
    """

    name = "ticket"
    section_optional = True
    challenge = "Ticket"

    class Options(Component.Options):
        """The section ``ticket``."""

        lifetime: Annotated[
            Duration,
            Field(
                gt=0, le=MAX_LIFETIME, description="Time in which a ticket may be used, at most 30s"
            ),
        ] = 10.0

    def __init__(
        self,
        options: Any,
        components: Components,
        tries: int = _TRIES,
    ) -> None:
        super().__init__(options, components)
        self._used = components.host.used_tickets
        self._clock = components.host.clock
        self._tries = tries

    def issue(self, identity: Identity) -> str:
        """Return a ticket for somebody, which one handshake may use within ``lifetime``.

        The connection then has this identity, with its tags and ``expires``.
        """
        until = self._clock() + self.options.lifetime
        payload = to_payload(identity, until, secrets.token_hex(8))
        return sign(self._used.key, _PURPOSE, payload)

    async def check(self, request: Request, context: Context) -> Identity | None:
        """Return whose ticket a request has, and use it up."""
        found = HttpRequest(request).query.get_all(_PARAMETER)
        if not found:
            return None
        payload = verify([self._used.key], _PURPOSE, found[0]) if len(found) == 1 else None
        if payload is None:
            raise Unauthorized("the ticket is not of this service", self.challenge)
        identity, (until, number) = from_payload(payload)
        # Second by second, as in the table: nothing may be forgotten there that is still valid here.
        now, last = int(self._clock()), int(float(until))
        if not now <= last <= now + MAX_LIFETIME:
            raise Unauthorized("the ticket is over", self.challenge)
        await self._claim(int(str(number), 16), last, now)
        return identity

    async def _claim(self, number: int, last: int, now: int) -> None:
        claim = self._used.claim(number, last, now)
        for _ in range(self._tries):
            if claim is not Claim.BUSY:
                break
            await asyncio.sleep(_PAUSE)
            claim = self._used.claim(number, last, now)
        if claim is Claim.USED:
            raise Unauthorized("the ticket was used", self.challenge)
        if claim is not Claim.CLAIMED:
            raise HttpError(HTTPStatus.SERVICE_UNAVAILABLE, _REFUSALS[claim])


class TicketHandler(HttpHandlerBase):
    """``POST /ticket``: answers ``{"ticket": "…", "expires_in": 10}`` to those whom ``auth`` knows.

    Its section is ``handler-ticket``, with ``auth``.
    """

    name = "handler-ticket"
    section_optional = True

    class Options(HttpHandlerBase.Options):
        """Options of every handler; ``auth`` is required."""

        path: Annotated[str, Field(description="Exact, or with {name} segments")] = "/ticket"
        method: Method = "POST"
        auth: Annotated[AuthOptions, Field(description="Checkers of those who want a ticket")]

    def __init__(self, options: Any, components: Components) -> None:
        super().__init__(options, components)
        self._tickets = components.find(TicketAuth)

    async def handle_request(self, request: HttpRequest, context: Context) -> Response:
        assert context.identity is not None, "the server has asked the checkers"
        ticket = self._tickets.issue(context.identity)
        answer = {"ticket": ticket, "expires_in": self._tickets.options.lifetime}
        found = response(200, json=answer)
        found.headers["Cache-Control"] = "no-store"
        return found
