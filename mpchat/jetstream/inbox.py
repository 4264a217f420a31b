"""Questions and answers over one subscription: each question has a reply subject of its own.

Rules. A question is asked once. An answer that comes late belongs to nobody: it cannot be taken for that
of another question. A loss of the connection ends all questions at once. To what it does not allow NATS
sends no answer, only an error beside, which ends the questions with that subject.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections.abc import Callable, Mapping

from mpchat.jetstream.connection import Connection
from mpchat.jetstream.errors import ConnectionLost, JetStreamError, NoLeader, NoReply, NotAllowed
from mpchat.jetstream.messages import Message
from mpchat.jetstream.subjects import INBOX

_NO_RESPONDERS = "503"


class _Question:
    __slots__ = ("answers", "end", "is_last", "subject")

    def __init__(
        self,
        subject: str,
        is_last: Callable[[Message], bool],
        end: asyncio.Future[JetStreamError | None],
    ) -> None:
        self.subject = subject
        self.is_last = is_last
        self.end = end
        self.answers: list[Message] = []

    def settle(self, error: JetStreamError | None) -> None:
        # Not as the future's exception: whoever asked may be gone, and the loop would report it.
        if not self.end.done():
            self.end.set_result(error)


class Inbox:
    """The questions of one user of a connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._prefix = f"{INBOX}.{secrets.token_hex(8)}"
        self._numbers = itertools.count()
        self._open: dict[str, _Question] = {}
        self._is_subscribed = False
        connection.observe(self)

    async def ask(
        self,
        subject: str,
        payload: bytes = b"",
        *,
        timeout: float,
        headers: Mapping[str, str] | None = None,
        is_last: Callable[[Message], bool] = lambda answer: True,
    ) -> list[Message]:
        """Send a message and return what comes back, up to the first that ``is_last``.

        ``timeout``: seconds for all answers.

        Raises:
            ConnectionLost: The connection is down, or was lost meanwhile.
            NoReply: The time is up.
            NoLeader: Nobody is there who answers.
            NotAllowed: The user may not publish to this subject.
            TooLarge: The message was not sent.
        """
        if not self._is_subscribed:
            self._is_subscribed = True
            await self._connection.subscribe(f"{self._prefix}.*", self._received)
        loop = asyncio.get_running_loop()
        reply = f"{self._prefix}.{next(self._numbers)}"
        question = _Question(subject, is_last, loop.create_future())
        self._open[reply] = question
        text = f"no answer from {subject} within {timeout:g} s"
        timer = loop.call_later(timeout, lambda: question.settle(NoReply(text)))
        try:
            await self._connection.publish(subject, payload, reply=reply, headers=headers)
            error = await question.end
        finally:
            timer.cancel()
            del self._open[reply]
        if error is not None:
            raise error
        if question.answers[-1].status == _NO_RESPONDERS:
            raise NoLeader(
                f"nobody answers at {subject}: no leader, no such stream, or no JetStream"
            )
        return question.answers

    def lost(self, why: str) -> None:
        for question in self._open.values():
            question.settle(ConnectionLost(f"the connection to NATS was lost: {why}"))

    def not_allowed(self, subject: str) -> bool:
        asked = [found for found in self._open.values() if found.subject.lower() == subject]
        # nats-py has the subject in lower case. If two rooms differ by that only, each runs into its
        # time limit: one of them may be stored.
        if len({found.subject for found in asked}) == 1:
            for question in asked:
                text = f"the user's permissions at NATS lack to publish {question.subject}"
                question.settle(NotAllowed(text, question.subject))
        return bool(asked)

    def _received(self, message: Message) -> None:
        question = self._open.get(message.subject)
        if question is not None and not question.end.done():
            question.answers.append(message)
            if message.status == _NO_RESPONDERS or question.is_last(message):
                question.settle(None)
