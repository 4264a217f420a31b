"""The transports of accepted sockets, while they are made."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from mpchat.server.accepted import Accepted

Making = Coroutine[Any, Any, Any]

log = logging.getLogger("mpchat.server")


class Adopting:
    """Gives sockets to transports.

    The event loop's coroutine for that waits for one future: a task around it would cost a thirtieth of a
    handshake.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._begun = 0
        self._all_done: asyncio.Future[None] | None = None

    def begin(
        self, accepted: Accepted, client: asyncio.Protocol, on_gone: Callable[[], None]
    ) -> None:
        """Make a transport for this client; ``on_gone`` is called if it has left meanwhile."""
        making = self._loop.connect_accepted_socket(lambda: client, accepted.as_socket())
        self._begun += 1
        self._go_on(making, accepted, on_gone)

    async def wait(self) -> None:
        """Wait until every socket so far has its transport."""
        while self._begun:
            if self._all_done is None:
                self._all_done = self._loop.create_future()
            await self._all_done

    def _go_on(
        self,
        making: Making,
        accepted: Accepted,
        on_gone: Callable[[], None],
        _waited_for: object = None,
    ) -> None:
        try:
            future = making.send(None)
        except StopIteration:
            self._end()
        except BaseException as error:
            self._end()
            accepted.close()
            on_gone()
            if not isinstance(error, OSError):
                raise
            log.debug("a client left while it was accepted: %s", error)
        else:
            accepted.handed_over()
            future.add_done_callback(functools.partial(self._go_on, making, accepted, on_gone))

    def _end(self) -> None:
        self._begun -= 1
        if not self._begun and self._all_done is not None:
            self._all_done.set_result(None)
            self._all_done = None
