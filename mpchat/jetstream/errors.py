"""The errors of JetStream: whose fault, and whether another try can help.

    JetStreamError
      ConfigFault      the config, or the account at NATS, has to change: exit code 78
        LoginRefused     user, password, token, credentials or certificate
        VersionTooOld    a server before 2.11
        NotAllowed       the user may not do this
        NoStream         there is no stream, and we may not create one
        StreamDiffers    there is one, and it is another than the options want
        StreamRefused    NATS does not create the stream
        WrongStream      another stream has our subjects
      Unavailable      not now: exit code 69 at the start
        Unreachable      no server lets us in
        ConnectionLost   the connection is down, or went down meanwhile
        NoReply          nobody answered in time
        NoLeader         nobody is there to answer
        Busy             the same message is being stored
        Incomplete       a part of the answer is missing
      ApiError         NATS answered with an error
        Refused          the stream does not take this message, now or later
      TooLarge         the message was not sent
      Malformed        a message that no stream has sent

Rules. When a publish ends with an Unavailable, nobody knows whether the message is stored: the same id
again tells. No text repeats a password or a token.
"""

from __future__ import annotations

from collections.abc import Sequence

from mpchat.errors import MpchatError


class JetStreamError(MpchatError):
    """Base of all errors of JetStream."""


class ConfigFault(JetStreamError):
    """Somebody has to change the config, or the account: no other try helps."""


class LoginRefused(ConfigFault):
    """The server does not let us in, or is not the one that we trust."""


class VersionTooOld(ConfigFault):
    """The server would answer wrongly."""


class NotAllowed(ConfigFault):
    """The user lacks a permission.

    Attributes:
        subject: What it may not publish or subscribe to.
    """

    def __init__(self, text: str, subject: str) -> None:
        super().__init__(text)
        self.subject = subject


class NoStream(ConfigFault):
    """There is no stream, and the options say that we do not create one."""


class StreamDiffers(ConfigFault):
    """The stream is not what the options want.

    Attributes:
        differences: A line for each.
    """

    def __init__(self, text: str, differences: Sequence[str]) -> None:
        super().__init__(text)
        self.differences = tuple(differences)


class StreamRefused(ConfigFault):
    """NATS does not create the stream."""


class WrongStream(ConfigFault):
    """What is published to our subjects is stored by another stream."""


class Unavailable(JetStreamError):
    """Not now; another try may help."""


class Unreachable(Unavailable):
    """No server could be reached in time."""


class ConnectionLost(Unavailable):
    """The connection is down, or went down before the answer came."""


class NoReply(Unavailable):
    """Nobody answered in time."""


class NoLeader(Unavailable):
    """Nobody is there to answer: the stream has no leader, or JetStream is off."""


class Busy(Unavailable):
    """The same message is still being stored."""


class Incomplete(Unavailable):
    """A part of the answer is missing."""


class ApiError(JetStreamError):
    """NATS answered with an error.

    Attributes:
        err_code: Which one, such as 10059.
        code: Its kind, as in HTTP.
        description: NATS's own words.
    """

    def __init__(self, text: str, err_code: int, code: int, description: str) -> None:
        super().__init__(text)
        self.err_code = err_code
        self.code = code
        self.description = description


class Refused(ApiError):
    """The stream does not take this message, now or later."""


class TooLarge(JetStreamError):
    """The message was not sent: the server would end the connection."""


class Malformed(JetStreamError):
    """A message on a live subject that the stream did not send."""
