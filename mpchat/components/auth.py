"""The base of checkers, and how the checkers of a handler are asked.

Rules. The first checker that finds credentials of its own kind decides (as in userver). An error says
what is wrong and repeats nothing that the client has sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import ClassVar

from websockets.http11 import Request

from mpchat.components.component import Component
from mpchat.components.context import Context
from mpchat.components.identity import Identity
from mpchat.http.errors import HttpError


class Unauthorized(HttpError):
    """Credentials that are wrong or too old: the client gets 401 with ``text`` and the challenge."""

    def __init__(self, text: str, challenge: str) -> None:
        super().__init__(HTTPStatus.UNAUTHORIZED, text, {"WWW-Authenticate": challenge})


class AuthCheckerBase(Component):
    """Base of components that find out who sends a request (userver's AuthCheckerBase).

    A handler names its checkers in the option ``auth``; the server then asks them before
    ``handle_handshake`` or ``handle_request``. To decide by yourself, find the checker in your handler's
    constructor, and await ``check`` in ``handle_handshake``.

    Attributes:
        challenge: What a 401 says about these credentials, the value of WWW-Authenticate.
    """

    challenge: ClassVar[str]

    async def check(self, request: Request, context: Context) -> Identity | None:
        """Return who sends the request, None if it has no credentials of this kind; override always.

        Raises:
            Unauthorized: It has some, and they are wrong.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define check")


async def authenticate(
    checkers: Sequence[AuthCheckerBase], request: Request, context: Context, now: float
) -> None:
    """Set ``context.identity`` to what the checkers find out; ``now`` is in seconds since 1970.

    Raises:
        HttpError: 401 without credentials that any of them knows, or with such that have expired, or
            whatever a checker answers.
    """
    for checker in checkers:
        identity = await checker.check(request, context)
        if identity is not None:
            context.identity = identity
            refuse_expired(context, now, checker.challenge)
            return
    raise Unauthorized("credentials are needed", ", ".join(item.challenge for item in checkers))


def refuse_expired(context: Context, now: float, challenge: str = "Bearer") -> None:
    """Check that the identity of a request has not expired; ``now`` is in seconds since 1970.

    Raises:
        Unauthorized: It has.
    """
    if context.expires is not None and context.expires <= now:
        raise Unauthorized("the credentials have expired", challenge)
