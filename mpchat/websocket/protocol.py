"""A connection on its socket, which asyncio calls: when it is read, written and closed.

Rules.
- The end of its input and of its socket are events of a connection's ``life``; what is to be done to the
  socket then is done here.
- Writes: see outgoing. Pong and Close go behind what was gathered before them.
- Reads: paused while the handler has messages to take, while our own writes wait for the client, and
  while this connection stands in line: after a full read, when more was read than is parsed at once, and
  when the budget that all share is spent (see turn). What is read then is kept unparsed. For clients that
  send much at once see bulk.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable

from websockets.exceptions import ConcurrencyError

from mpchat.components.context import Context
from mpchat.components.handler_base import HandlerBase
from mpchat.websocket.budget import CLOSE, READ
from mpchat.websocket.bulk import BulkReader, let_in
from mpchat.websocket.client import Client
from mpchat.websocket.deflate import Agreement
from mpchat.websocket.frames import BINARY, TEXT
from mpchat.websocket.incoming import Incoming
from mpchat.websocket.options import WebsocketOptions
from mpchat.websocket.outgoing import let_through, make_outgoing
from mpchat.websocket.parser import Parser
from mpchat.websocket.phases import CLOSING, DRAINING, LINGERING, LOST, OPEN, OWED, Action, Event
from mpchat.websocket.shared import Shared
from mpchat.websocket.state import State
from mpchat.websocket.timers import TimedLife

_SOCKET_LOST = Event.LOST


class WebSocketProtocol(TimedLife):
    """One connection from the 101 response to the end of its socket, for asyncio a ``Protocol``."""

    __slots__ = (
        "_has_eof",
        "_in_line",
        "_in_turn",
        "_large_read",
        "_on_end",
        "client",
        "head",
        "subprotocol",
        "turn",
    )

    def __init__(
        self,
        transport: asyncio.Transport,
        descriptor: int,
        shared: Shared,
        handler: HandlerBase,
        options: WebsocketOptions,
        head: bytes,
        context: Context,
        subprotocol: str | None,
        compression: Agreement | None,
        client: Client,
        on_end: Callable[[WebSocketProtocol], None],
    ) -> None:
        traffic = shared.counters.traffic_of(handler.name)
        turn, thresholds = shared.turn, shared.thresholds
        fragment_size = options.fragment_size
        super().__init__(
            shared,
            handler,
            context,
            Parser(options.max_remote_payload, traffic, turn, compression),
            Incoming(shared.loop, thresholds),
            make_outgoing(transport, descriptor, traffic, thresholds, fragment_size, compression),
            transport,
            options,
        )
        transport.set_write_buffer_limits(high=options.write_limit)
        let_through(transport, fragment_size, thresholds.max_unsent_in_kernel)
        self.turn = turn
        self.head = head
        self.subprotocol = subprotocol
        self.client = client
        # A read at least as large is followed by others in bulk.
        self._large_read = thresholds.large_read
        self._in_turn = self._in_line = self._has_eof = False
        self._on_end = on_end

    def start(self, task: asyncio.Task[None], leftover: bytes) -> None:
        """Begin with the handler's task, and take what followed the handshake in the same read."""
        self.shared.counters.handshakes += 1
        self._begin(task)
        if leftover:
            self.data_received(leftover)

    def continue_from(self, state: State, task: asyncio.Task[None]) -> None:
        super().continue_from(state, task)
        # What was gathered leaves.
        self.join_turn()

    def write_handshake(self) -> None:
        """Write the handshake's answer, which was gathered, and what the handler has sent behind it."""
        if self.phase is not LOST:
            self.outgoing.flush()

    @property
    def target(self) -> str:
        """What the handshake asked for."""
        return self.head.split(b" ", 2)[1].decode("ascii")

    # Reading

    def data_received(self, data: bytes | memoryview) -> None:
        turn = self.turn
        if turn.left <= 0 or (self.phase is not OPEN and self.phase >= CLOSING):
            self._keep_or_drop(data)
            return
        size = len(data)
        turn.left -= READ + size
        if self._awaited_pong is not None:
            self._begin_keepalive()
        parser, incoming = self.parser, self.incoming
        messages = incoming.messages
        before = parser.received
        incoming.more = parser.feed(data, messages, turn.max_frames)
        if parser.has_control:
            self._on_control()
        if self._limits is not None:
            self._judge_messages(self._limits)
        if messages:
            turn.untimed -= parser.received - before
            if turn.untimed <= 0:
                turn.time_one(incoming)
            if (callback := incoming.callback) is not None:
                incoming.resume(callback)
        elif parser.is_within_message:
            self._ensure_limits().message_begun(parser.received)
        if messages or incoming.more or size >= self._large_read:
            self._limit_reading(size)
        if turn.left < turn.mark:
            turn.look()

    def _keep_or_drop(self, data: bytes | memoryview) -> None:
        """Keep a read when the turn is over; after our Close look for the client's."""
        incoming = self.incoming
        if self.turn.left <= 0:
            if self.phase < LINGERING:
                incoming.kept = bytes(incoming.kept) + data if incoming.kept else data
            self._wait_in_line()
            return
        self.turn.charge(READ + len(data))
        if self.phase < LINGERING:
            incoming.more = self.parser.drop(data, self.turn.max_frames)
            if self.parser.is_over:
                self._input_ended()
            elif incoming.more:
                self._wait_in_line()

    def _on_control(self) -> None:
        """Act on what the parser has found beside messages."""
        parser = self.parser
        replies, pongs = parser.take_control()
        self._judge_controls()
        if parser.is_bulk and not parser.has_buffers:
            self._read_in_bulk()
        if pongs:
            self._take_pongs(pongs)
        if replies and self.phase < CLOSING:
            self.outgoing.gather(replies)
            self.join_turn()
        if parser.is_over and self.phase < OWED:
            self._input_ended()

    def controls_received(self, count: int) -> None:
        """Judge so many more records of TLS without data: each costs as much as a control frame."""
        self.parser.overhead += count
        self._judge_controls()

    def _judge_controls(self) -> None:
        parser, most = self.parser, self.options.max_control_frames_per_second
        if most is not None and parser.overhead > most:
            self._act_on(self._ensure_limits().judge_controls(parser.overhead))

    def _limit_reading(self, size: int) -> None:
        """Pause after a large read, and when the handler has too much to take."""
        incoming = self.incoming
        is_full = incoming.is_full(size)
        is_large = size >= self._large_read
        if is_large:
            self._read_in_bulk()
        if incoming.more or is_large or is_full:
            self.wait_for_turn()

    def _read_in_bulk(self) -> None:
        # From now on the reader knows which read has filled its buffer.
        self._large_read = sys.maxsize
        let_in(
            self.transport,
            self.options.max_remote_payload,
            self.turn.thresholds.max_unread_in_kernel,
        )
        self.transport.set_protocol(BulkReader(self, self.parser, self.turn, self.shared.scratch))

    def wait_for_turn(self) -> None:
        """Read on when this turn is over and the handler waits for more."""
        self.incoming.pause()
        self._wait_in_line()

    def _wait_in_line(self) -> None:
        """Line up for ``serve``, and do not read until then."""
        if not self._in_line:
            self._in_line = True
            if not self.incoming.lined_up:
                self.incoming.lined_up = self.turn.now()
            self._set_reading()
            unparsed = len(self.incoming.kept) + self.parser.unparsed
            self.turn.line_up(self.turn.open_line, self, unparsed)

    def stop_reading(self) -> None:
        """Line up: the worker keeps too many bytes that it has read."""
        if self.phase < LINGERING:
            self._wait_in_line()

    def serve(self) -> None:
        """Continue with what had to wait; the turn calls this."""
        self._in_line = False
        if self.phase is LOST:
            self._release()
            return
        incoming = self.incoming
        kept, incoming.kept = incoming.kept, b""
        if kept or (incoming.more and self.phase >= CLOSING):
            self.data_received(kept)
        if self.phase < CLOSING and incoming.callback is not None:
            if incoming.more:
                self._parse_more()
            self.pull()
            callback = incoming.callback
            if callback is not None and incoming.messages:
                incoming.resume(callback)
            elif callback is not None:
                self.caught_up()
        if not self._in_line:
            incoming.lined_up = 0.0
        # What a lingering one sends is dropped, and its end of file is awaited.
        if self.turn.is_full and self.phase < LINGERING:
            self._wait_in_line()
        self._set_reading()
        if self.is_reading and self.parser.has_buffers:
            self.turn.promised += self._next_read()

    def _next_read(self) -> int:
        """Return the work of the next read, if it is as large as it may be."""
        rest = self.parser.rest
        return READ + (len(rest) if rest is not None else self.turn.thresholds.bulk_read)

    def pull(self) -> None:
        incoming = self.incoming
        if incoming.more and not self._in_line:
            if self.turn.left > 0 and not self.turn.is_crowded:
                self._parse_more()
            if incoming.more and not incoming.messages:
                self._wait_in_line()
        if incoming.is_paused and not incoming.more and not incoming.messages:
            incoming.unpause()
            self._set_reading()

    def _parse_more(self) -> None:
        incoming, parser, turn = self.incoming, self.parser, self.turn
        before = parser.received
        incoming.more = parser.feed(b"", incoming.messages, turn.max_frames)
        turn.untimed -= parser.received - before
        if turn.untimed <= 0 and incoming.messages:
            turn.time_one(incoming)
        if parser.has_control:
            self._on_control()
        if self._limits is not None:
            self._judge_messages(self._limits)
        if turn.left < turn.mark:
            turn.look()

    def _set_reading(self) -> None:
        want = not (self.incoming.is_paused or self.outgoing.paused or self.phase is DRAINING)
        want = (want or self.phase >= CLOSING) and not self._in_line
        if want == self.is_reading or self.phase is LOST or self.transport.is_closing():
            return
        self.is_reading = want
        if want:
            if self._limits is not None:
                self._limits.reading_resumed()
            self.transport.resume_reading()
        else:
            self.transport.pause_reading()

    # What a handler awaits, see messages

    def look(self) -> None:
        """Before a handler waits for a message: see what is there already, or take all as answered.

        Raises:
            ConcurrencyError: Another task is waiting.
            ConnectionClosed: The connection has ended.
        """
        incoming = self.incoming
        if incoming.callback is not None:
            raise ConcurrencyError("another recv is waiting on this connection")
        self.pull()
        if not incoming.messages:
            incoming.answered(self.parser.received)
            self.caught_up()
            if self.is_finished:
                raise self.closed_error()
            incoming.attention = incoming.has_unparsed

    def send_now(self, message: str | bytes | bytearray | memoryview) -> bool:
        """Send a message; False if ``wait_to_send`` comes first."""
        outgoing, incoming = self.outgoing, self.incoming
        if outgoing.paused or (self.phase is not OPEN and not self.may_send()):
            return False
        if isinstance(message, str):
            opcode, payload = TEXT, str.encode(message)
        elif isinstance(message, (bytes, bytearray, memoryview)):
            opcode, payload = BINARY, bytes(message)
        else:
            raise TypeError(f"a message is str or bytes, not {type(message).__name__}")
        if not outgoing.send_message(opcode, payload, not (incoming.messages or incoming.more)):
            self.join_turn()
        elif not self.turn.will_publish:
            self.turn.publish_soon()
        return True

    async def wait_to_send(self) -> None:
        """Wait until there is room for a message.

        Raises:
            ConnectionClosed: The connection has ended.
        """
        if self.outgoing.paused:
            await self.outgoing.wait_writable()
            return
        await self.wait_finished()
        raise self.closed_error()

    # Writing

    def join_turn(self) -> None:
        """Have ``end_turn`` called when this turn of the loop ends."""
        if not self._in_turn:
            self._in_turn = True
            self.turn.join(self)

    def end_turn(self) -> None:
        """Write what was gathered."""
        self._in_turn = False
        if self.phase is not LOST:
            self.outgoing.flush()

    def pause_writing(self) -> None:
        self.outgoing.paused = True
        self._ensure_limits().writing_paused(self._unread())
        self._set_reading()

    def resume_writing(self) -> None:
        self.outgoing.resume()
        if self._limits is not None:
            self._limits.writing_resumed()
        self._set_reading()

    # Ending

    def _do(self, action: Action) -> None:
        _DEEDS[action](self)

    def eof_received(self) -> bool:
        self._has_eof = True
        self._on(Event.END_OF_FILE)
        # We close the socket ourselves.
        return True

    def _stop_reading(self) -> None:
        self.incoming.attention = True
        self._set_reading()

    def _await_client(self) -> None:
        """Read on, for close-timeout after the client last took something."""
        self._begin_close_timeout()
        self._set_reading()
        if self.incoming.has_unparsed:
            self._wait_in_line()

    def _half_close(self) -> None:
        """Send no more, and read to the client's end of file."""
        self.incoming.forget_unparsed()
        self.parser.forget()
        if self.transport.is_closing():
            return
        if self._has_eof:
            self.transport.close()
            return
        self._await_client()
        if self.transport.can_write_eof():
            self.transport.write_eof()

    def _close_socket(self) -> None:
        self.transport.close()

    def _abort_socket(self) -> None:
        self._count_out()
        self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_timers()
        self.outgoing.forget_socket()
        self.incoming.kept = b""
        self._on(_SOCKET_LOST)

    def _release_in_turn(self) -> None:
        """Release now, or in a later turn: thousands may leave at once."""
        if self._in_line:
            return
        if self.turn.left > 0:
            self._release()
        else:
            self._in_line = True
            self.turn.line_up(self.turn.new_line, self)

    def _release(self) -> None:
        """The socket is gone: tell all who wait for the connection."""
        self.turn.charge(CLOSE)
        self._finish()
        self.outgoing.resume()
        if self.is_handled:
            self._on_end(self)

    def handler_ended(self, code: int) -> None:
        """``handle`` is over: close, unless that has begun."""
        incoming = self.incoming
        if incoming.ahead and not incoming.messages:
            # It has taken the timed message, and this is the end of its answer.
            self.turn.answered(incoming)
        incoming.ahead = 0
        incoming.drop()
        self.close(code, "")
        if self.phase is LOST and not self._in_line:
            self._on_end(self)


_DEEDS: dict[Action, Callable[[WebSocketProtocol], None]] = {
    Action.STOP_READING: WebSocketProtocol._stop_reading,
    Action.HOLD_BACK: WebSocketProtocol._hold_back,
    Action.ANSWER: WebSocketProtocol._answer,
    Action.SEND_CLOSE: WebSocketProtocol._send_close,
    Action.AWAIT_CLIENT: WebSocketProtocol._await_client,
    Action.FINISH: WebSocketProtocol._finish,
    Action.HALF_CLOSE: WebSocketProtocol._half_close,
    Action.CLOSE_SOCKET: WebSocketProtocol._close_socket,
    Action.ABORT_SOCKET: WebSocketProtocol._abort_socket,
    Action.RELEASE: WebSocketProtocol._release_in_turn,
}
"""What each action is; a test compares them with all that there are."""
