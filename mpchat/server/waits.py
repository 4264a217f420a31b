"""The waits for a client while its socket is not a WebSocket, and their ends.

Rules. One wait at a time, that of the socket's stage, and none while a request is being answered. During
every wait, a client that has unread answers and reads nothing for ``write-timeout`` is cut off. The time
for its next request, and for its end of file, starts when it has read all answers. A socket beyond a
limit gets one second in total.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

from mpchat.server.options import ServerOptions
from mpchat.server.stages import IDLE, LINGERING, TIMEOUTS, Stage
from mpchat.websocket.shared import Shared
from mpchat.websocket.uptake import Uptake, unread

_REFUSED_SECONDS = 1.0
"""Seconds for a socket beyond a limit, which is open only to be refused."""
_AFTER_ANSWERS = frozenset((IDLE, LINGERING))


class Times:
    """The times of all waits, as the options of the server have them.

    Attributes:
        seconds: For the client's next step, by stage.
        write_timeout: For a client that reads nothing; 0 for none.
    """

    def __init__(self, options: ServerOptions) -> None:
        # Options are models of pydantic, which take long to find an attribute.
        self.seconds = {stage: timeout.seconds(options) for stage, timeout in TIMEOUTS.items()}
        self.write_timeout = options.write_timeout


class Waits:
    """The waits for one client.

    Attributes:
        stage: The stage whose time is running, or None.
    """

    __slots__ = (
        "_begun_at",
        "_due",
        "_is_refused",
        "_looks",
        "_seconds",
        "_shared",
        "_time",
        "_times",
        "_too_late",
        "_transport",
        "_uptake",
        "_wheel",
        "stage",
        "wheel_tick",
    )

    def __init__(
        self,
        transport: asyncio.Transport,
        shared: Shared,
        times: Times,
        too_late: Callable[[Stage], None],
        *,
        admitted: bool,
    ) -> None:
        self._transport = transport
        self._shared = shared
        self._wheel = shared.wheel
        self._time = shared.wheel.time
        self._looks = shared.thresholds.uptake_looks
        self._too_late = too_late
        self._times = times
        self._uptake: Uptake | None = None
        self._begun_at = self._due = self._seconds = 0.0
        self.stage: Stage | None = None
        self.wheel_tick = 0
        self._is_refused = not admitted
        if not admitted:
            self._wheel.set(self, _REFUSED_SECONDS)

    def begin(self, stage: Stage, seconds: float | None = None) -> None:
        """Start the wait of a stage, by default with its usual time."""
        if self._is_refused:
            return
        self.stage = stage
        self._seconds = self._times.seconds[stage] if seconds is None else seconds
        self._begun_at = self._time()
        self._due = self._begun_at + self._seconds
        self._uptake = None
        self._look_in(self._seconds)

    def go_on(self) -> None:
        """Restart the time of the wait, after progress."""
        self._due = self._time() + self._seconds

    def end(self) -> None:
        """End the wait."""
        if not self._is_refused:
            self.stage = None
            self._wheel.discard(self)

    def forget(self) -> None:
        """Release all references: the socket is gone, or is a WebSocket now."""
        self._wheel.discard(self)
        del self._too_late

    def expire(self) -> None:
        """Check whether the client reads, and whether the time is over; the wheel calls this."""
        stage, now = self.stage, self._time()
        if stage is None:
            # Only a socket beyond a limit has a timer but no wait.
            self._transport.abort()
            return
        left = unread(self._transport, self._transport.get_write_buffer_size())
        if not left:
            self._uptake = None
        elif not self._is_reading(left, now):
            self._shared.count_limit("write-timeout")
            self._transport.abort()
            return
        elif stage in _AFTER_ANSWERS:
            self._due = now + self._seconds
        if now < self._due:
            self._look_in(self._due - now)
        else:
            self.stage = None
            self._too_late(stage)

    def _is_reading(self, left: int, now: float) -> bool:
        timeout = self._times.write_timeout
        if not timeout:
            return True
        if self._uptake is None:
            # First check: only the number of unread bytes now is known.
            self._uptake = Uptake(left, self._looks, self._begun_at)
        return self._uptake.wait(left, now, timeout) > 0

    def _look_in(self, seconds: float) -> None:
        timeout = self._times.write_timeout
        if timeout:
            seconds = min(seconds, timeout / self._looks)
        if seconds < math.inf:
            self._wheel.set(self, seconds)
