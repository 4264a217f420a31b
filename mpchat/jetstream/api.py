"""The requests to one stream: its state, one publish, the barrier, and messages by their sequences.

Rules. One attempt each: who asks knows whether to repeat. Any replica answers a Direct Get, also one
that is behind or cut off, so that an empty answer proves nothing; the leader's does. A part of an answer
is none.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from mpchat.jetstream.connection import Connection
from mpchat.jetstream.errors import (
    ApiError,
    Busy,
    Incomplete,
    NoLeader,
    Refused,
    StreamRefused,
    Unavailable,
    WrongStream,
)
from mpchat.jetstream.inbox import Inbox
from mpchat.jetstream.messages import Message, Stored, milliseconds_of, stored_of
from mpchat.jetstream.subjects import Subjects

MOST_NAMES = 1024
"""Rooms in one question for what has changed: NATS answers no more."""
_MOST_BYTES = 8 * 1024 * 1024
"""Bytes of one answer about what has changed."""
_END, _NOT_FOUND = "204", "404"

STREAM_NOT_FOUND = 10059
_NO_MESSAGE, _WRONG_STREAM, _BUSY = 10037, 10060, 10158
_OFF = {10039, 10076}
"""JetStream is off, for the account or the server."""
_LEASE = 3.0
"""Seconds in which a leader that most servers have heard is the only one: they wait four for it at least,
and hear it each second"""
_NANOSECONDS = 10**9


class Info(NamedTuple):
    """The state of the stream.

    Attributes:
        created: When, in NATS's own form.
        config: With NATS's names.
        first_seq: Sequence of the oldest message; one above ``last_seq`` if there is none.
        last_seq: Sequence that was given last.
        leader: The server that orders the stream; None if there is none, or only one server.
        is_clustered: Whether there has to be a leader.
        replicas: Servers that keep the stream.
        silence: Seconds since the leader has heard of so many others that most servers were with it.
    """

    created: str
    config: Mapping[str, Any]
    metadata: Mapping[str, str]
    first_seq: int
    last_seq: int
    leader: str | None
    is_clustered: bool
    replicas: int
    silence: float = 0.0

    @property
    def has_leader(self) -> bool:
        """Whether messages are stored now, and this is the state that counts.

        A replica that is cut off answers as well, without a leader; a leader that is cut off goes on for
        some twenty seconds, while the others have chosen another one.
        """
        return not self.is_clustered or (self.leader is not None and self.silence < _LEASE)


class Ack(NamedTuple):
    """A message is stored.

    Attributes:
        duplicate: It was already, under this sequence: its id is known.
    """

    seq: int
    duplicate: bool


class Batch(NamedTuple):
    """Messages of a room, oldest first.

    Attributes:
        pending: How many more there are behind them.
        last: Sequence of the last one; 0 if there is none.
    """

    messages: list[Stored]
    pending: int
    last: int


class Changed(NamedTuple):
    """The rooms with new messages.

    Attributes:
        last: The last message of each, by its token.
        upto: Sequence up to which this is all, on the replicas that were asked.
    """

    last: dict[str, Stored]
    upto: int


class Api:
    """The requests of one process to one stream.

    A ``timeout`` is in seconds. Each request raises ``Unavailable`` in one of its forms when there is no
    good answer in time, and ``NotAllowed``.
    """

    def __init__(self, connection: Connection, subjects: Subjects) -> None:
        self.subjects = subjects
        self.connection = connection
        self._inbox = Inbox(connection)

    async def info(self, timeout: float = 2.0) -> Info:
        """Return the state of the stream.

        Raises:
            ApiError: There is none (``STREAM_NOT_FOUND``).
        """
        return _info_of(await self._call(self.subjects.info, None, timeout))

    async def create(self, config: Mapping[str, Any], timeout: float = 5.0) -> Info:
        """Create the stream; one that has this config is left as it is.

        Raises:
            ApiError: NATS says no.
        """
        return _info_of(await self._call(self.subjects.create, config, timeout))

    async def publish(self, token: str, payload: bytes, *, id: str, timeout: float = 2.0) -> Ack:
        """Store a message of a room, once for each id within the stream's window, whatever the room.

        Raises:
            Unavailable: Nobody knows whether it is stored; the same id again tells.
            Refused: It is not stored, and will not be.
            WrongStream: Another stream has the subject.
            TooLarge: Not sent: more than the server's ``max_payload``.
        """
        headers = {"Nats-Msg-Id": id, "Nats-Expected-Stream": self.subjects.stream}
        subject = self.subjects.stored(token)
        answers = await self._inbox.ask(subject, payload, headers=headers, timeout=timeout)
        found = _json_of(answers[0])
        if (error := found.get("error")) is not None:
            raise _refusal(subject, error)
        return Ack(found["seq"], found.get("duplicate", False))

    async def barrier(self, timeout: float = 1.0) -> None:
        """Return when the leader knows of all subscriptions that were sent before.

        A message that the stream refuses, and does not store, went the way of all messages.

        Raises:
            Unavailable: Any other answer, or none: repeat it.
        """
        subject = self.subjects.barrier
        headers = {"Nats-Expected-Stream": "-"}
        answers = await self._inbox.ask(subject, headers=headers, timeout=timeout)
        error = _json_of(answers[0]).get("error", {})
        if error.get("err_code") != _WRONG_STREAM:
            raise Unavailable(
                f"{subject} answers with {answers[0].data!r}: the stream did not see it"
            )

    async def batch(
        self, token: str, seq: int, *, messages: int, max_bytes: int, timeout: float = 1.0
    ) -> Batch:
        """Return messages of a room from sequence ``seq`` on, as any replica has them.

        It ends after ``messages``, or with the one that is beyond ``max_bytes``.

        Raises:
            Incomplete: Some of the answer was lost.
        """
        subject = self.subjects.stored(token)
        body = {"seq": seq, "batch": messages, "max_bytes": max_bytes, "next_by_subj": subject}
        *answers, end = await self._direct(body, timeout)
        if end.status == _NOT_FOUND:
            return Batch([], 0, 0)
        found: list[Stored] = []
        last = 0
        for answer in answers:
            if (
                answer.header("Nats-Subject") != subject
                or _number(answer, "Nats-Last-Sequence") != last
            ):
                raise Incomplete(f"an answer about {subject} has a hole behind {last}")
            found.append(stored_of(token, answer))
            last = found[-1].seq
        if _number(end, "Nats-Last-Sequence") != last:
            raise Incomplete(f"an answer about {subject} lacks its end behind {last}")
        return Batch(found, _number(end, "Nats-Num-Pending"), last)

    async def changed(self, tokens: Sequence[str], after: int, timeout: float = 2.0) -> Changed:
        """Return the last messages of those rooms that have some behind sequence ``after``.

        ``upto`` is the least of several answers. It is ``after`` if a thousand rooms have no message at
        all: the answer about them does not say how far it goes.
        """
        last: dict[str, Stored] = {}
        upto: int | None = None
        for start in range(0, len(tokens), MOST_NAMES):
            part = await self._changed(tokens[start : start + MOST_NAMES], after, timeout)
            last |= part.last
            upto = part.upto if upto is None else min(upto, part.upto)
        return Changed(last, after if upto is None else upto)

    async def _changed(self, tokens: Sequence[str], after: int, timeout: float) -> Changed:
        names = [self.subjects.stored(token) for token in tokens]
        body: dict[str, Any] = {"multi_last": names, "seq": after + 1, "max_bytes": _MOST_BYTES}
        last: dict[str, Stored] = {}
        upto = after
        while True:
            *answers, end = await self._direct(body, timeout)
            if end.status == _NOT_FOUND:
                return Changed(last, upto)
            for answer in answers:
                token = self._token_of(answer.header("Nats-Subject"))
                last[token] = stored_of(token, answer)
            # The first page says how far all of them go.
            upto = body.setdefault("up_to_seq", _number(end, "Nats-UpTo-Sequence"))
            reached = _number(end, "Nats-Last-Sequence")
            if answers and reached != last[token].seq:
                raise Incomplete(f"an answer about {len(names)} rooms lacks its end")
            if not _number(end, "Nats-Num-Pending"):
                return Changed(last, upto)
            body["seq"] = reached + 1

    async def message(self, seq: int, timeout: float = 1.0) -> Stored | None:
        """Return the message with this sequence, of whichever room, as any replica has it."""
        body = json.dumps({"seq": seq}).encode()
        (answer,) = await self._inbox.ask(self.subjects.direct, body, timeout=timeout)
        if answer.status == _NOT_FOUND:
            return None
        if answer.status:
            raise _incomplete(answer)
        return stored_of(self._token_of(answer.header("Nats-Subject")), answer)

    async def leader_next(self, token: str, seq: int, timeout: float = 2.0) -> Stored | None:
        """Return a room's first message from sequence ``seq`` on, as the leader has it."""
        body = {"seq": seq, "next_by_subj": self.subjects.stored(token)}
        return await self._leader(body, timeout)

    async def leader_last(self, token: str, timeout: float = 2.0) -> Stored | None:
        """Return a room's last message, as the leader has it."""
        return await self._leader({"last_by_subj": self.subjects.stored(token)}, timeout)

    async def leader_message(self, seq: int, timeout: float = 2.0) -> Stored | None:
        """Return the message with this sequence, of whichever room, as the leader has it."""
        return await self._leader({"seq": seq}, timeout)

    async def _leader(self, body: Mapping[str, Any], timeout: float) -> Stored | None:
        try:
            found = (await self._call(self.subjects.message, body, timeout))["message"]
        except ApiError as error:
            if error.err_code == _NO_MESSAGE:
                return None
            raise
        return Stored(
            self._token_of(found["subject"]),
            found["seq"],
            milliseconds_of(found["time"]),
            base64.b64decode(found.get("data", "")),
        )

    async def _direct(self, body: Mapping[str, Any], timeout: float) -> list[Message]:
        answers = await self._inbox.ask(
            self.subjects.direct,
            json.dumps(body).encode(),
            timeout=timeout,
            is_last=lambda answer: answer.status != "",
        )
        if answers[-1].status not in {_END, _NOT_FOUND}:
            raise _incomplete(answers[-1])
        return answers

    async def _call(self, subject: str, body: Mapping[str, Any] | None, timeout: float) -> Any:
        payload = json.dumps(body).encode() if body is not None else b""
        (answer,) = await self._inbox.ask(subject, payload, timeout=timeout)
        found = _json_of(answer)
        if (error := found.get("error")) is not None:
            raise _error_of(subject, error)
        return found

    def _token_of(self, subject: str) -> str:
        token = self.subjects.token(subject)
        if token is None:
            raise Incomplete(
                f"the stream {self.subjects.stream} has a message of {subject}, no room"
            )
        return token


def _info_of(found: Mapping[str, Any]) -> Info:
    config, state, cluster = found["config"], found["state"], found.get("cluster")
    return Info(
        found["created"],
        config,
        config.get("metadata") or {},
        state["first_seq"],
        state["last_seq"],
        (cluster or {}).get("leader") or None,
        cluster is not None,
        config["num_replicas"],
        _silence_of((cluster or {}).get("replicas") or [], config["num_replicas"]),
    )


def _silence_of(others: Sequence[Mapping[str, Any]], replicas: int) -> float:
    needed = replicas // 2
    heard = sorted(other["active"] / _NANOSECONDS for other in others)
    if not needed:
        return 0.0
    return heard[needed - 1] if len(heard) >= needed else math.inf


def _json_of(answer: Message) -> dict[str, Any]:
    try:
        found = json.loads(answer.data)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise Incomplete(f"expected a JSON object, got {answer.data[:60]!r}")
    return found


def _number(answer: Message, name: str) -> int:
    text = answer.header(name)
    if not text.isdecimal():
        raise Incomplete(f"an answer without {name}: is the server older than 2.11?")
    return int(text)


def _incomplete(answer: Message) -> Incomplete:
    return Incomplete(f"NATS answers {answer.status} {answer.header('Description')}")


def _error_of(subject: str, error: Mapping[str, Any]) -> ApiError | NoLeader | StreamRefused:
    err_code, code = error.get("err_code", 0), error.get("code", 0)
    description = error.get("description", "")
    text = f"{subject}: {description} ({err_code})"
    if err_code in _OFF:
        return StreamRefused(f"{text}: JetStream has to be on, for the user's account, too")
    if code == 503:
        return NoLeader(text)
    return ApiError(text, err_code, code, description)


def _refusal(
    subject: str, error: Mapping[str, Any]
) -> Refused | NoLeader | Busy | StreamRefused | WrongStream:
    found = _error_of(subject, error)
    if not isinstance(found, ApiError):
        return found
    if found.err_code == _BUSY:
        return Busy(str(found))
    if found.err_code == _WRONG_STREAM:
        return WrongStream(
            f"{found}: another stream has this subject; delete it, or name ours anew"
        )
    return Refused(str(found), found.err_code, found.code, found.description)
