"""The options of the component ``rooms``."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from mpchat.components.component import Component
from mpchat.config.types import ByteSize, Count, Duration
from mpchat.jetstream.options import JetStreamOptions

_KIB = 1024
_MIB = 1024 * _KIB
LEAST_HISTORY = _MIB
"""Bytes of the smallest history: four segments."""
_LEAST_LEFT = 30
"""Seconds of NATS's window for ids that are left when a publish is given up."""


def _check_history(size: int) -> int:
    if 0 < size < LEAST_HISTORY:
        text = "expected 0, or at least {least} bytes"
        raise PydanticCustomError("history", text, {"least": LEAST_HISTORY})
    return size


class RoomsOptions(Component.Options):
    """Options of rooms. Limits of a room's history hold for what is answered, whichever is met first."""

    engine: Annotated[
        Literal["host", "nats"],
        Field(
            description="What orders and keeps messages: `host`, for the rooms of one host, or `nats`, "
            "for rooms that hosts share; that needs `pip install 'mpchat[nats]'`"
        ),
    ] = "host"
    nats: Annotated[
        JetStreamOptions | None,
        Field(
            description="The stream of the engine `nats`; `max-age` and `max-bytes` are its history's"
        ),
    ] = None
    publish_timeout: Annotated[
        Duration,
        Field(
            alias="publish-timeout",
            gt=0,
            description="Time after which a publish without an answer raises Unavailable",
        ),
    ] = 10.0
    history_memory: Annotated[
        ByteSize,
        AfterValidator(_check_history),
        Field(
            alias="history-memory",
            description="Memory in bytes for the last messages of all rooms together, taken at the "
            "start, at least 1 MiB; 0: none, and nothing can be recovered",
        ),
    ] = 64 * _MIB
    history_size: Annotated[
        Count,
        Field(alias="history-size", description="Messages of a room that can be recovered"),
    ] = 1000
    history_bytes: Annotated[
        ByteSize,
        Field(
            alias="history-bytes",
            description="The same in bytes",
        ),
    ] = 1 * _MIB
    history_age: Annotated[
        Duration,
        Field(alias="history-age", description="The same in time; 0s: any"),
    ] = 3600.0
    max_rooms: Annotated[
        Count,
        Field(alias="max-rooms", description="Rooms with members or history; joins of more fail"),
    ] = 100_000
    max_members: Annotated[
        Count,
        Field(alias="max-members", description="Members of all rooms together; more joins fail"),
    ] = 100_000
    max_rooms_per_connection: Annotated[
        Count,
        Field(
            alias="max-rooms-per-connection",
            description="Rooms that one connection is in; joins of more fail",
        ),
    ] = 100
    publish_rate: Annotated[
        Count,
        Field(
            alias="publish-rate",
            description="Messages a second that one connection publishes, and how many at once after a "
            "silence; more fail. 0: any number",
        ),
    ] = 0
    member_backlog: Annotated[
        ByteSize,
        Field(
            alias="member-backlog",
            description="Bytes that wait for one member, beyond which its connection is closed with 1013",
        ),
    ] = 1 * _MIB
    worker_backlog: Annotated[
        ByteSize,
        Field(
            alias="worker-backlog",
            description="Bytes that the broker holds for a worker that is behind; the rest it takes from "
            "the history later",
        ),
    ] = 1 * _MIB
    max_client_ids: Annotated[
        Count,
        Field(
            alias="max-client-ids",
            description="Ids of clients' messages that are remembered, so that a message sent again "
            "is not doubled",
        ),
    ] = 100_000
    presence: Annotated[
        bool,
        Field(description="False: nobody is told who is in a room"),
    ] = True

    @model_validator(mode="after")
    def _check_engine(self) -> Self:
        if self.engine == "nats":
            if self.nats is None:
                raise PydanticCustomError("engine", "expected the section nats, with its servers")
            if find_spec("nats") is None:
                text = "the engine nats needs nats-py: pip install 'mpchat[nats]'"
                raise PydanticCustomError("engine", text)
            if self.publish_timeout > self.nats.duplicate_window - _LEAST_LEFT:
                text = "expected publish-timeout to be {left} s below nats.duplicate-window"
                raise PydanticCustomError("engine", text, {"left": _LEAST_LEFT})
        elif self.nats is not None:
            raise PydanticCustomError("engine", "expected `engine: nats` beside the section nats")
        return self
