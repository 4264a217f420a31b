"""How a broker comes to its stream: the connection, and the stream as it has to be.

Rules. A stream without a leader does not answer, nor does one that was created just now, as all hosts do
that begin at once: it is asked again until the time is over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from mpchat.jetstream.api import Api, Info
from mpchat.jetstream.configuration import prepare
from mpchat.jetstream.connection import Connection
from mpchat.jetstream.errors import Unavailable
from mpchat.jetstream.options import JetStreamOptions

_PAUSE = 0.2
"""Seconds between two questions about the stream"""


class Joined(NamedTuple):
    """What a broker has of its stream.

    Attributes:
        info: The stream, as it was checked.
    """

    connection: Connection
    api: Api
    options: JetStreamOptions
    info: Info


async def join(
    options: JetStreamOptions,
    limit: float,
    on_up: Callable[[], None],
    on_lost: Callable[[str], None],
    on_error: Callable[[str, str | None], None],
) -> Joined:
    """Connect, and create the stream or check that it is as the options say.

    Args:
        options: Where, and which stream.
        limit: Seconds to connect, and then as many for the stream to answer.
        on_up: Called after each connect.
        on_lost: Called with the reason when the connection is lost.
        on_error: Called with words for operators, and a subject if they are about one.

    Raises:
        ConfigFault: The options, or the account at NATS, have to change.
        Unavailable: Not now.
    """
    connection = Connection(options, on_up=on_up, on_lost=on_lost, on_error=on_error)
    api = Api(connection, options.subjects)
    try:
        await connection.connect(limit)
        info = await wait_prepared(api, options, limit)
    except BaseException:
        await connection.close()
        raise
    return Joined(connection, api, options, info)


async def wait_prepared(api: Api, options: JetStreamOptions, limit: float) -> Info:
    """Return the state of the stream, as ``prepare`` does, once it answers.

    Raises:
        ConfigFault: The options, or the account at NATS, have to change.
        Unavailable: It has not answered for so many seconds.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + limit
    while True:
        try:
            return await prepare(api, options)
        except Unavailable:
            if loop.time() > end:
                raise
        await asyncio.sleep(_PAUSE)
