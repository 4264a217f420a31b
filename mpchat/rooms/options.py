"""The options of the component ``rooms``."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from mpchat.components.component import Component
from mpchat.config.types import ByteSize, Count, Duration

_KIB = 1024
_MIB = 1024 * _KIB
LEAST_HISTORY = _MIB
"""Bytes of the smallest history: four segments."""


def _check_history(size: int) -> int:
    if 0 < size < LEAST_HISTORY:
        text = "expected 0, or at least {least} bytes"
        raise PydanticCustomError("history", text, {"least": LEAST_HISTORY})
    return size


class RoomsOptions(Component.Options):
    """Options of rooms. Limits of a room's history hold for what is answered, whichever is met first."""

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
