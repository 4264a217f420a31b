"""The subjects of NATS that a stream of rooms uses.

Rules. Everything derives from the stream's name, so that several streams can share an account. A room's
token is base64url: any name is one level of a subject, and no wildcard.
"""

from __future__ import annotations

import base64

INBOX = "_INBOX_mpchat"
"""What our reply subjects begin with: a user may then read no others' replies."""
API = "$JS.API"
"""What the subjects of JetStream's API begin with, outside of a domain."""


def token_of(room: bytes) -> str:
    """Return the last level of a room's subjects."""
    return base64.urlsafe_b64encode(room).rstrip(b"=").decode()


class Subjects:
    """The subjects of one stream.

    Attributes:
        stream: The stream's name.
        all_stored: What the stream stores.
        all_live: The live subjects of all rooms.
        barrier: A subject of the stream that is no room's.
        direct: Where any replica answers.
        message: Where the leader answers with one message.
        info: Where the leader answers with the stream's state.
        create: Where the stream is created.
    """

    def __init__(self, stream: str, prefix: str = API) -> None:
        self.stream = stream
        name = stream.lower()
        self._stored = f"{name}."
        self._live = f"live.{name}."
        self.all_stored = self.stored("*")
        self.all_live = self.live("*")
        # Not canonical base64url, so no room has it.
        self.barrier = self.stored("_b")
        self.direct = f"{prefix}.DIRECT.GET.{stream}"
        self.message = f"{prefix}.STREAM.MSG.GET.{stream}"
        self.info = f"{prefix}.STREAM.INFO.{stream}"
        self.create = f"{prefix}.STREAM.CREATE.{stream}"

    def stored(self, token: str) -> str:
        """Return the subject that a room's messages are published to and stored under."""
        return self._stored + token

    def live(self, token: str) -> str:
        """Return the subject that the stream republishes a room's messages to."""
        return self._live + token

    def token(self, subject: str) -> str | None:
        """Return whose stored subject this is, None if it is no room's."""
        return subject.removeprefix(self._stored) if subject.startswith(self._stored) else None

    def control(self, word: str) -> str:
        """Return a subject that hosts talk to each other by; nothing of it is stored."""
        return f"mpchat.ctl.{self.stream}.{word}"
