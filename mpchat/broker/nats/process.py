"""The broker's process where rooms are shared with other hosts.

Rules. The first broker of a service comes to its stream, or the service does not start: what the config
or the account at NATS has wrong ends it with 78, a stream that is out of reach with 69. A later one
serves without the stream until it comes back, since members stay; only what an operator has to mend ends
it.
"""

from __future__ import annotations

import asyncio
import logging
import time

from mpchat.broker.nats.broker import NatsBroker
from mpchat.broker.nats.joining import Joined, join
from mpchat.broker.process import BrokerProcess
from mpchat.errors import ExitCode
from mpchat.ipc import messages
from mpchat.ipc.channel import Channel
from mpchat.ipc.messages import BrokerDescriptors, ForkBroker
from mpchat.jetstream.errors import ConfigFault, JetStreamError, Unavailable
from mpchat.jetstream.options import JetStreamOptions
from mpchat.logs.options import LoggingOptions
from mpchat.rooms.options import RoomsOptions
from mpchat.scoreboard.broker import ENGINES

_LIMIT = 5.0
"""Seconds to connect, before a start goes on without the stream, or fails"""
_PAUSE = 1.0
"""Seconds between two attempts"""

log = logging.getLogger("mpchat.broker")


def run_nats_broker(
    request: ForkBroker,
    channel: Channel,
    descriptors: BrokerDescriptors,
    logging_options: LoggingOptions,
    options: RoomsOptions,
    heartbeat: float,
) -> None:
    """Run a broker of the engine ``nats`` until it has ended; see ``run_broker``."""
    process = BrokerProcess(request, channel, descriptors, logging_options, options)
    assert options.nats is not None
    host = _Host(process, options.nats)
    process.loop.run_until_complete(host.run(heartbeat))


class _Host:
    """A broker, and whether it has its stream.

    Attributes:
        broker: None before it has had the stream first.
    """

    def __init__(self, process: BrokerProcess, options: JetStreamOptions) -> None:
        self.broker: NatsBroker | None = None
        self._process = process
        self._options = options

    async def run(self, heartbeat: float) -> None:
        process = self._process
        process.board.set_broker("engine", ENGINES.index("nats"))
        process.begin(heartbeat)
        joining = process.loop.create_task(self._join())
        process.end.add_done_callback(lambda _end: joining.cancel())
        try:
            self._begin(await joining)
        except asyncio.CancelledError:
            # It was asked to end.
            return
        except Unavailable as error:
            if process.number == 1:
                self._fail(ExitCode.UNAVAILABLE, error)
                return
            process.board.set_broker("stream_lost_at", int(time.monotonic() * 1000))
            log.warning("the rooms wait for their stream: %s", error)
            process.spawn(self._join_later())
        except JetStreamError as error:
            self._fail(ExitCode.CONFIG, error)
            return
        process.ready()
        await process.end
        if self.broker is not None:
            await self.broker.end()

    def _begin(self, joined: Joined) -> None:
        process = self._process
        self.broker = broker = NatsBroker(
            joined, process.options, process.loop.call_soon, process.spawn, broken=process.broken
        )
        process.serve(broker)

    async def _join(self) -> Joined:
        return await join(self._options, _LIMIT, self._on_up, self._on_lost, self._on_error)

    async def _join_later(self) -> None:
        while True:
            await asyncio.sleep(_PAUSE)
            try:
                joined = await self._join()
            except Unavailable:
                continue
            except ConfigFault as error:
                self._fail(ExitCode.CONFIG, error)
                self._process.end.set_result(None)
                return
            self._begin(joined)
            return

    def _fail(self, code: ExitCode, error: JetStreamError) -> None:
        """Say why there is no broker."""
        text = f"mpchat: the rooms' stream {self._options.stream}: {error}"
        messages.send(self._process.channel, messages.Failure(code, text))

    # The connection's

    def _on_up(self) -> None:
        if self.broker is not None:
            log.info("the connection to NATS is there again")
            self.broker.came_back()

    def _on_lost(self, why: str) -> None:
        if self.broker is not None:
            log.warning("the connection to NATS is lost: %s", why)
            self.broker.was_lost()

    def _on_error(self, text: str, subject: str | None) -> None:
        log.error("%s%s", f"{subject}: " if subject is not None else "", text)
