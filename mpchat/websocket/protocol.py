"""The asyncio side of a WebSocket connection: when to read, when to write, in which order to end.

Rules.
- Writes: see output. Pong and Close go behind what was gathered before them.
- Reads: paused while the handler has messages to take, while our own writes wait for the client, and
  while this connection stands in line: after a full read, where more was read than is parsed at once, and
  where the budget that all share was spent (see turn). What is read then is kept as it is. For how the
  socket is read of a client that sends much at once see bulk.
- A client's Close, or its mistake, is answered when the handler has come back for more, has ended, or at
  close-timeout: after what came before it.
- After both Closes, or after a Close of ours for a mistake: half-close, read and forget until the
  client's end of file or close-timeout, then close. Closing at once would reset what is on its way.
- One wheel has all the times: of keepalive, then of closing; limits stands there for itself.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from websockets.frames import Close

from mpchat.components.context import Context
from mpchat.websocket.budget import CLOSE, READ
from mpchat.websocket.bulk import read_in_bulk
from mpchat.websocket.client import Client
from mpchat.websocket.closing import closed_error, tell_mistake
from mpchat.websocket.connection import WebSocketConnection
from mpchat.websocket.deflate import Agreement
from mpchat.websocket.frames import Ending, close_frame
from mpchat.websocket.handler import WebsocketHandlerBase
from mpchat.websocket.limits import Limits, begin_limits, end_limits, limits_of
from mpchat.websocket.output import make_output
from mpchat.websocket.pings import Pings
from mpchat.websocket.running import run_handler
from mpchat.websocket.scanner import Scanner
from mpchat.websocket.shared import Shared
from mpchat.websocket.turn import MOST_FRAMES
from mpchat.websocket.uptake import LOOKS, Uptake

_MOST_BEHIND = 64 * 1024
"""Bytes read, beside those of one read, that the handler has not taken, before reading pauses."""
_LARGE_READ = 64 * 1024
"""Who sends so much at once is read in bulk from then on, and others come first."""


class WebSocketProtocol(asyncio.Protocol):
    """One connection from the 101 response to the end of its socket."""

    __slots__ = (
        "_arrival",
        "_behind",
        "_counted_out",
        "_drain_code",
        "_end",
        "_eof",
        "_in_line",
        "_in_turn",
        "_input_paused",
        "_is_handled",
        "_kept",
        "_messages",
        "_on_end",
        "_owed",
        "_task",
        "_uptake",
        "awaiting_pong",
        "chat",
        "client",
        "context",
        "counters",
        "finished",
        "handler",
        "is_cancelled",
        "is_reading",
        "large_read",
        "limits",
        "lost",
        "more",
        "options",
        "output",
        "pings",
        "received",
        "received_first",
        "scanner",
        "sent",
        "shared",
        "since",
        "subprotocol",
        "suspected",
        "transport",
        "turn",
        "unread",
        "wheel_action",
        "wheel_tick",
    )

    def __init__(
        self,
        transport: asyncio.Transport,
        shared: Shared,
        handler: WebsocketHandlerBase,
        head: bytes,
        context: Context,
        subprotocol: str | None,
        compression: Agreement | None,
        client: Client,
        on_end: Callable[[WebSocketProtocol], None],
    ) -> None:
        options: WebsocketHandlerBase.Options = handler.options
        counters = shared.counters
        self.options = options
        self.subprotocol = subprotocol
        self.transport = transport
        self.client = client
        self.output = make_output(transport, counters, options, compression)
        self.context = context
        self.counters = counters
        self.scanner = Scanner(options.max_remote_payload, counters, shared.turn, compression)
        self.chat = WebSocketConnection(self, head, context)
        self._messages = self.chat.queued
        self._arrival = self.chat.arrival
        self._behind = 0
        self.large_read = _LARGE_READ
        self.sent: Close | None = None
        self.received: Close | None = None
        self.received_first = self.lost = self.finished = self._is_handled = False
        self.since = time.monotonic()
        self.handler = handler
        self.shared = shared
        self.turn = shared.turn
        self._on_end = on_end
        self._in_turn = self._in_line = self._input_paused = self.more = False
        # Read when the budget was spent, and not looked at yet.
        self._kept: bytes | memoryview = b""
        self.is_reading = True
        self._end: asyncio.Future[None] | None = None
        self.pings: Pings | None = None
        self.awaiting_pong = self.suspected = False
        self.limits: Limits | None = None
        self.wheel_tick = 0
        self.wheel_action: Callable[[WebSocketProtocol], None] = WebSocketProtocol.abort
        # What the client had not read when it was last pinged.
        self.unread = 0
        self._uptake: Uptake | None = None
        # Answers that may still go out before a Close of the client's is answered.
        self._owed = 0
        self._drain_code: int | None = None
        self._eof = self._counted_out = self.is_cancelled = False
        self._task: asyncio.Task[None] | None = None

    def start(self, leftover: bytes) -> None:
        """Begin: start the handler, and take what followed the handshake in the same read."""
        self.counters.handshakes += 1
        self.counters.connections += 1
        self.turn.touch()
        self._task = asyncio.get_running_loop().create_task(run_handler(self))
        self.shared.keepalive.begin(self)
        begin_limits(self)
        if leftover:
            self.data_received(leftover)

    def follow_config(self) -> None:
        """Take over what a new dynamic config says of keepalive."""
        if self.sent is None and not self.scanner.is_over and not self.lost:
            self.shared.keepalive.begin(self)

    def write_handshake(self) -> None:
        """Write the handshake's answer, which was gathered, and what the handler has sent behind it."""
        if not self.lost:
            self.output.flush()

    # Input

    def data_received(self, data: bytes | memoryview) -> None:
        turn = self.turn
        if turn.left <= 0 or self.sent is not None:
            self._keep_or_drop(data)
            return
        turn.left -= READ + len(data)
        if self.awaiting_pong:
            self.shared.keepalive.begin(self)
        messages, scanner = self._messages, self.scanner
        self.more = scanner.feed(data, messages, turn.most_frames)
        if scanner.has_control:
            self._on_control()
        if self.limits is not None:
            self.limits.after_read()
        if messages:
            arrival = self._arrival
            if (callback := arrival.callback) is not None:
                arrival.resume(callback)
        elif scanner.is_within_message:
            limits_of(self).message_begun()
        if messages or self.more or len(data) >= self.large_read:
            self._limit_reading(len(data))
        if turn.left < turn.mark:
            turn.look()

    def _keep_or_drop(self, data: bytes | memoryview) -> None:
        """Take a read when the turn is over, or when we have said Close."""
        if self.turn.left <= 0:
            if not self.finished:
                self._kept = bytes(self._kept) + data if self._kept else data
            self._wait_in_line()
            return
        self.turn.charge(READ + len(data))
        if not self.finished:
            self._look_for_close(data)

    def _limit_reading(self, size: int) -> None:
        """After a read that the handler has not dealt with, or a large one: pause if it was too much."""
        waiting = len(self._messages)
        # An estimate from above: what was read while there were messages that nobody had taken.
        self._behind = self._behind + size if waiting else 0
        is_large = size >= self.large_read
        if is_large:
            read_in_bulk(self)
        if self.more or is_large or waiting >= MOST_FRAMES or self._behind >= _MOST_BEHIND:
            self.wait_for_turn()

    def wait_for_turn(self) -> None:
        """Read on when this turn is over and the handler waits for more."""
        self.chat.attention = self._input_paused = True
        self._wait_in_line()

    def _wait_in_line(self) -> None:
        """Have ``serve`` called, and do not read until then."""
        if not self._in_line:
            self._in_line = True
            self._set_reading()
            unparsed = len(self._kept) + self.scanner.unparsed
            self.turn.line_up(self.turn.open_line, self, unparsed)

    def stop_reading(self) -> None:
        """Too much has been read of others: stand in line with them."""
        if not self.lost:
            self._wait_in_line()

    def serve(self) -> None:
        """Go on with what could not be done before: what the turn calls when it is over."""
        self._in_line = False
        if self.lost:
            self._lose()
            return
        kept, self._kept = self._kept, b""
        if kept or (self.more and self.sent is not None):
            self.data_received(kept)
        if self.sent is None and self._arrival.callback is not None:
            if self.more:
                self._parse_more()
            self.pull()
            callback = self._arrival.callback
            if callback is not None and self._messages:
                self._arrival.resume(callback)
            elif callback is not None:
                self.caught_up()
        if self.turn.is_full:
            self._wait_in_line()
        self._set_reading()

    @property
    def has_unparsed(self) -> bool:
        """Whether something was read that the handler has not seen because others come first."""
        return self.more or bool(self._kept)

    def pull(self) -> None:
        """Parse further, and read again when all that was read is parsed: the handler asks."""
        if self.more and not self._in_line:
            if self.turn.left > 0 and not self.turn.is_crowded:
                self._parse_more()
            if self.more and not self._messages:
                self._wait_in_line()
        if self._input_paused and not self.more and not self._messages:
            self._input_paused = False
            self._behind = 0
            self._set_reading()

    def _parse_more(self) -> None:
        scanner, turn = self.scanner, self.turn
        self.more = scanner.feed(b"", self._messages, turn.most_frames)
        if scanner.has_control:
            self._on_control()
        if turn.left < turn.mark:
            turn.look()

    def eof_received(self) -> bool:
        # A client that has said Close may still read the answers to what it said before.
        self._eof = True
        return self.scanner.is_over and not self.finished

    def _look_for_close(self, data: bytes | memoryview) -> None:
        """After our Close: messages are dropped, the client's Close ends the wait."""
        scanner = self.scanner
        self.more = scanner.drop(data, self.turn.most_frames)
        if scanner.closed is not None:
            self.received = scanner.closed.close
        if scanner.is_over:
            self._half_close()
        elif self.more:
            self._wait_in_line()

    def _on_control(self) -> None:
        scanner = self.scanner
        scanner.has_control = False
        most = self.options.max_control_frames_per_second
        if most is not None and scanner.overhead > most:
            limits_of(self).after_controls()
        if scanner.is_bulk and not scanner.has_buffers:
            read_in_bulk(self)
        if scanner.pongs:
            if self.pings is not None:
                self.pings.answer(scanner.pongs)
                self.pings.meet(self.chat.asked_for)
                self.chat.attention = True
            scanner.pongs = ()
        if scanner.replies:
            if self.sent is None:
                self.output.gather(scanner.replies)
                self.join_turn()
            scanner.replies = b""
        if scanner.is_over and self.sent is None:
            if scanner.closed is not None:
                self.received = scanner.closed.close
                self.received_first = True
            self.chat.attention = True
            self._owed = len(self._messages) + self._is_unanswered()
            if self._owed:
                self.output.is_closed = True
                self._expire_in_close_timeout(WebSocketProtocol._answer_end)
            else:
                self._answer_end()

    def _is_unanswered(self) -> bool:
        """Whether the handler has taken a message and not come back for more."""
        taken = self.scanner.received - len(self._messages)
        idle = self._arrival.callback is not None or self.chat.polled == taken
        return taken > 0 and not idle and not self._is_handled

    def may_send(self) -> bool:
        """Whether a message may still go out, though an end has begun: an answer to what came before it.

        A handler that streams on would otherwise hold back our Close, which is due as soon as practical
        (RFC 6455, 5.5.1): its first message beyond the answers that it owes makes room for it.
        """
        if self.sent is not None or self.lost:
            return False
        if not self._owed:
            self._answer_end()
            return False
        self._owed -= 1
        return True

    def _set_reading(self) -> None:
        want = not (self._input_paused or self.output.paused or self._drain_code is not None)
        want = (want or self.sent is not None) and not self._in_line
        if want == self.is_reading or self.lost or self.transport.is_closing():
            return
        self.is_reading = want
        if want:
            if self.limits is not None:
                self.limits.reading_resumed()
            self.transport.resume_reading()
        else:
            self.transport.pause_reading()

    # Output

    def send_control(self, frame: bytes) -> None:
        """Send a control frame after the data that was gathered before it."""
        self.output.gather(frame)
        self.output.flush()

    def end_turn(self) -> None:
        """Write what was gathered."""
        self._in_turn = False
        if not self.lost:
            self.output.flush()

    def pause_writing(self) -> None:
        self.output.paused = True
        limits_of(self).writing_paused()
        self._set_reading()

    def resume_writing(self) -> None:
        self.output.resume()
        limits_of(self).writing_resumed()
        self._set_reading()

    def join_turn(self) -> None:
        """Have ``end_turn`` called when this turn of the loop ends."""
        if not self._in_turn:
            self._in_turn = True
            self.turn.join(self)

    # Ends

    def caught_up(self) -> None:
        """The handler has taken and answered everything: close now if that was waiting for it."""
        if self.has_unparsed:
            return
        if self.pings is not None:
            self.pings.meet(self.chat.asked_for + 1)
        if self.scanner.is_over and self.sent is None:
            self._answer_end()
        elif self._drain_code is not None and self.sent is None and not self.lost:
            self.close(self._drain_code, "")

    def close(self, code: int, reason: str) -> None:
        """Send our Close unless one was sent; the client's ends the connection.

        Raises:
            ProtocolError: The code must not be sent, or the reason is too long.
        """
        if self.sent is not None or self.lost:
            return
        if self.scanner.is_over:
            self._answer_end()
            return
        self._write_close(Close(code, reason), close_frame(code, reason))
        self._await_end()
        self._set_reading()
        if self.has_unparsed:
            self._wait_in_line()

    def drain(self, code: int) -> None:
        """Read no more, let the handler answer what was read, then close."""
        if self.sent is not None or self.lost or self._drain_code is not None:
            return
        self._drain_code = code
        self.chat.attention = True
        self._set_reading()
        if self._arrival.callback is not None or not self._is_unanswered():
            self.pull()
            if self._messages:
                self._arrival.wake()
            else:
                self.caught_up()

    def cancel(self, code: int) -> None:
        """Close now, whatever the handler is at, and cancel it."""
        self.close(code, "")
        if self._task is not None and not self._task.done():
            self.is_cancelled = True
            self._task.cancel()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = self.output.is_closed = True
        self.shared.wheel.discard(self)
        end_limits(self)
        self._kept = b""
        turn = self.turn
        if self._in_line:
            return
        if turn.left > 0:
            self._lose()
        else:
            # Thousands may leave at once.
            self._in_line = True
            turn.line_up(turn.new_line, self)

    def _lose(self) -> None:
        """The socket is gone: tell those who wait for something of it."""
        self.turn.charge(CLOSE)
        self._finish()
        self.output.resume()
        if self._task is None or self._task.done():
            self._on_end(self)

    def release(self) -> None:
        """All is over: let go of what holds this, or both would wait until garbage is looked for."""
        self.more = False
        del self.chat

    async def wait_finished(self) -> None:
        """Wait for the end of the connection as its handler sees it."""
        if not self.finished:
            if self._end is None:
                self._end = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._end)

    def handler_ended(self, code: int) -> None:
        """``handle`` is over: close, unless that has begun."""
        self._is_handled = True
        self._messages.clear()
        self.close(code, "")
        if self.lost and not self._in_line:
            self._on_end(self)

    def _answer_end(self) -> None:
        """Answer the client's Close, which repeats its code (RFC 6455, 5.5.1), or tell its mistake."""
        ending = self.scanner.closed or self.scanner.failure
        if self.sent is None and not self.lost and ending is not None:
            self._end_with(ending)

    def _write_close(self, close: Close, frame: bytes) -> None:
        self.sent = close
        self.output.is_closed = True
        self.send_control(frame)

    def _half_close(self) -> None:
        """Send no more, and read to the client's end of file."""
        self.more, self._kept = False, b""
        self._finish()
        if self.lost or self.transport.is_closing():
            return
        if self._eof:
            self.transport.close()
            return
        self._await_end()
        self._set_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()

    def _finish(self) -> None:
        if self.finished:
            return
        self.finished = self.chat.attention = True
        self._count_out()
        if self.pings is not None:
            self.pings.end(closed_error(self))
        self._arrival.wake()
        if self._end is not None:
            self._end.set_result(None)

    def _count_out(self) -> None:
        if not self._counted_out:
            self._counted_out = True
            self.counters.connections -= 1
            self.counters.closed += 1
            self.turn.publish_now()

    def _expire_in_close_timeout(self, action: Callable[[WebSocketProtocol], None]) -> None:
        # What comes now is no answer to a ping, and must not put the keepalive in this one's place.
        self.awaiting_pong = False
        self.wheel_action = action
        self.shared.wheel.set(self, self.options.close_timeout)

    def _await_end(self) -> None:
        """Cut the client off when it has taken nothing, and not ended its side, for close-timeout."""
        self._uptake = Uptake(self.transport, time.monotonic())
        self.awaiting_pong = False
        self.wheel_action = WebSocketProtocol._look_at_end
        self.shared.wheel.set(self, self.options.close_timeout / LOOKS)

    def _look_at_end(self) -> None:
        assert self._uptake is not None
        wait = self._uptake.wait(time.monotonic(), self.options.close_timeout)
        if wait > 0:
            self.shared.wheel.set(self, wait)
        else:
            self.abort()

    def expire(self) -> None:
        """What the wheel calls when this connection's time has come."""
        self.wheel_action(self)

    def abort(self) -> None:
        """End now, without waiting for the client."""
        self._count_out()
        if not self.lost:
            self.transport.abort()

    def fail(self, code: int, reason: str) -> None:
        """End the connection now, for what its client does or does not do."""
        if self.sent is None and not self.lost:
            self._end_with(Ending(Close(code, reason), close_frame(code, reason)))

    def _end_with(self, ending: Ending) -> None:
        if self.received is None:
            tell_mistake(self, ending.close)
        self._write_close(ending.close, ending.frame)
        self._half_close()
